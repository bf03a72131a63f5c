/** Numbers and times on charts, as views/chart.go writes them. Without the DOM. */
import { duration } from "./duration.js";

/**
 * A number for people: thousands apart, at most three decimals.
 * @param {number} n
 * @returns {string}
 */
export function number(n) {
  const a = Math.abs(n);
  if (Number.isNaN(n)) return "NaN";
  if (!Number.isFinite(n)) return n > 0 ? "∞" : "-∞";
  if (Number.isInteger(n) && a < 1e15) return n.toLocaleString("en-US");
  if (a >= 1e15 || a < 1e-3) return n.toPrecision(4).replace(/\.?0+(?=e|$)/, "");
  if (a >= 1000) return n.toLocaleString("en-US", { maximumFractionDigits: 1 });
  return String(Number(n.toFixed(a >= 10 ? 2 : 3)));
}

/**
 * A value with its unit: "ms" is written as a duration.
 * @param {number} n
 * @param {string} unit
 */
export function value(n, unit) {
  if (unit === "ms" && Number.isFinite(n) && Math.abs(n) < 9e12) return n === 0 ? "0" : duration(Math.round(n * 1e6));
  return number(n);
}

/**
 * The smallest of 1, 2, 2.5, 5 times a power of ten that is at least n; 1 if n is
 * not positive.
 * @param {number} n
 */
export function niceCeil(n) {
  if (!(n > 0) || !Number.isFinite(n)) return 1;
  const power = 10 ** Math.floor(Math.log10(n));
  return ([1, 2, 2.5, 5].find((m) => m * power >= n * 0.999999) ?? 10) * power;
}

/**
 * A moment on an axis in the browser's zone; step is the distance of the labels.
 * @param {number} milli
 * @param {number} step milliseconds
 * @param {number} length of the axis, milliseconds
 */
export function tick(milli, step, length) {
  const t = new Date(milli);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${t.getDate()} ${["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][t.getMonth()]}`;
  const clock = `${two(t.getHours())}:${two(t.getMinutes())}`;
  if (step < 60_000) return `${clock}:${two(t.getSeconds())}`;
  if (step >= 86_400_000) return day;
  return length > 26 * 3_600_000 ? `${day} ${clock}` : clock;
}

/**
 * A span of time for a tooltip.
 * @param {number} from
 * @param {number} to
 */
export function span(from, to) {
  const fine = to - from < 60_000;
  const part = (ms) => tick(ms, fine ? 1000 : 60_000, 0);
  return `${part(from)} – ${part(to)}`;
}
