/* global uPlot */
import { niceCeil, span, tick, value } from "./chart_format.js";

/**
 * Draws a line chart with uPlot in place of the server's picture: pointing names
 * the nearest line, dragging selects a stretch of time. A row of the table that
 * is pointed at lights its line: "chart:light" with detail {key} on the document.
 */
export function mount(figure) {
  const body = figure.querySelector(".Chart-body");
  const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  if (typeof uPlot === "undefined" || data.lines.length === 0) return undefined;

  const host = document.createElement("div");
  host.className = "Chart-live";
  const tip = document.createElement("div");
  tip.className = "Chart-tip";
  tip.hidden = true;
  body.append(host);
  body.classList.add("is-live");
  figure.append(tip);
  let plot;

  const draw = () => {
    plot?.destroy();
    plot = new uPlot(options(figure, host, data, tip), table(data), host);
  };
  draw();

  const resize = new ResizeObserver(() => {
    if (plot.width !== host.clientWidth && host.clientWidth > 0) plot.setSize({ width: host.clientWidth, height: data.height + 22 });
  });
  resize.observe(host);
  const theme = new MutationObserver(draw);
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw);
  const light = (e) => lightLine(plot, data, e.detail.key);
  document.addEventListener("chart:light", light);
  const clear = () => plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  figure.addEventListener("chart:clear", clear);

  return () => {
    resize.disconnect();
    theme.disconnect();
    scheme.removeEventListener("change", draw);
    document.removeEventListener("chart:light", light);
    figure.removeEventListener("chart:clear", clear);
    plot.destroy();
    host.remove();
    tip.remove();
    body.classList.remove("is-live");
  };
}

function table(data) {
  const n = data.lines[0].values.length;
  const times = Array.from({ length: n }, (_, i) => (data.start + (i + 0.5) * data.step) / 1000);
  return [times, ...data.lines.map((l) => l.values)];
}

function options(figure, host, data, tip) {
  const css = getComputedStyle(figure);
  const quiet = css.getPropertyValue("--ink-2").trim();
  const hair = css.getPropertyValue("--line").trim();
  const top = niceCeil(Math.max(0, ...data.lines.slice(0, data.drawn).flatMap((l) => l.values.filter((v) => v !== null))));
  const colours = serviceColours(figure, data.lines);
  const length = data.to - data.from;
  const font = `11px ${css.fontFamily}`;
  return {
    width: Math.max(host.clientWidth, 120),
    height: data.height + 22,
    padding: [6, 0, 0, 0],
    legend: { show: false },
    focus: { alpha: 0.25 },
    cursor: { y: false, focus: { prox: 24 }, points: { size: 6 }, drag: { x: true, y: false, setScale: false } },
    scales: {
      x: { time: true, range: () => [data.from / 1000, data.to / 1000] },
      y: { range: (u, min, max) => [0, Math.max(top, lit(u) ? niceCeil(max ?? 0) : 0)] },
    },
    axes: [
      {
        stroke: quiet, font, size: 22, gap: 6, grid: { show: false }, ticks: { show: false }, space: 64,
        values: (u, splits, axis, space, step) => splits.map((s) => whole(u, s, data, tick(s * 1000, step * 1000, length), font)),
      },
      {
        stroke: quiet, font, size: 56, gap: 8, space: 60, grid: { stroke: hair, width: 1 }, ticks: { show: false },
        values: (u, splits) => splits.map((v) => value(v, data.unit)),
      },
    ],
    series: [{}, ...data.lines.map((l, i) => ({
      label: l.label, stroke: colours[i], width: 1.5, show: i < data.drawn, spanGaps: false, points: { show: true, size: 4, filter: () => lonely(l.values) },
    }))],
    hooks: {
      setCursor: [(u) => showTip(figure, u, data, tip)],
      setSelect: [(u) => select(figure, u)],
    },
  };
}

// The label of a moment, or none where the end of the axis would cut it.
const pen = document.createElement("canvas").getContext("2d");
function whole(u, seconds, data, text, font) {
  const right = (data.to / 1000 - seconds) / ((data.to - data.from) / 1000) * (u.width - 56);
  pen.font = font;
  return right < pen.measureText(text).width / 2 ? "" : text;
}

// A value without neighbours makes no line: it gets a point.
function lonely(values) {
  const gap = (i) => (values[i] ?? null) === null;
  return [...values.keys()].filter((i) => !gap(i) && gap(i - 1) && gap(i + 1));
}

function serviceColours(figure, lines) {
  const probe = document.createElement("i");
  probe.hidden = true;
  figure.append(probe);
  const found = new Map();
  const colours = lines.map((l) => {
    if (!found.has(l.class)) {
      probe.className = l.class;
      found.set(l.class, getComputedStyle(probe).getPropertyValue("--service").trim() || "#888");
    }
    return found.get(l.class);
  });
  probe.remove();
  return colours;
}

function showTip(figure, u, data, tip) {
  const at = u.cursor.idx;
  const focused = u.series.findIndex((s, i) => i > 0 && s.show && s._focus === true);
  if (at === null || at === undefined || u.cursor.left < 0) {
    tip.hidden = true;
    return;
  }
  const i = focused > 0 ? focused : nearest(u, at);
  const v = i > 0 ? u.data[i][at] : null;
  const from = data.start + at * data.step;
  const when = document.createElement("div");
  when.className = "Chart-tipTime";
  when.textContent = span(from, from + data.step);
  const what = document.createElement("div");
  what.textContent = v === null ? "no rows" : `${data.lines.length > 1 ? `${data.lines[i - 1].label}: ` : ""}${value(v, data.unit)}`;
  tip.replaceChildren(when, what);
  tip.hidden = false;
  place(figure, tip, u.over, u.cursor.left, u.cursor.top);
}

// The line whose value is nearest to the pointer.
function nearest(u, at) {
  let best = 0;
  let least = Infinity;
  for (let i = 1; i < u.series.length; i++) {
    const v = u.data[i][at];
    if (!u.series[i].show || v === null) continue;
    const d = Math.abs(u.valToPos(v, "y") - u.cursor.top);
    if (d < least) [best, least] = [i, d];
  }
  return best;
}

/**
 * Puts a tip beside a point of a plot, inside the figure.
 * @param {HTMLElement} figure
 * @param {HTMLElement} tip
 * @param {Element} plot
 * @param {number} x
 * @param {number} y
 */
export function place(figure, tip, plot, x, y) {
  const outer = figure.getBoundingClientRect();
  const inner = plot.getBoundingClientRect();
  const left = inner.left - outer.left + x + 14;
  tip.style.left = `${Math.max(0, left + tip.offsetWidth > outer.width ? left - tip.offsetWidth - 28 : left)}px`;
  tip.style.top = `${inner.top - outer.top + Math.max(0, y - tip.offsetHeight - 6)}px`;
}

function select(figure, u) {
  const { left, width } = u.select;
  if (width < 4) return;
  const from = u.posToVal(left, "x") * 1000;
  const to = u.posToVal(left + width, "x") * 1000;
  figure.dispatchEvent(new CustomEvent("chart:select", { bubbles: true, detail: { from, to } }));
}

// A line beyond those drawn shows while its row is pointed at.
const lightened = new WeakMap();

function lit(u) {
  return lightened.get(u) !== undefined;
}

function lightLine(u, data, key) {
  const before = lightened.get(u);
  if (before !== undefined && before >= data.drawn) u.setSeries(before + 1, { show: false });
  const i = key === null ? -1 : data.lines.findIndex((l) => l.key === key);
  if (i < 0) {
    lightened.delete(u);
    u.setSeries(null, { focus: false });
    if (before !== undefined && before >= data.drawn) u.redraw(true, true);
    return;
  }
  lightened.set(u, i);
  if (i >= data.drawn) u.setSeries(i + 1, { show: true });
  u.setSeries(i + 1, { focus: true });
}
