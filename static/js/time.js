/**
 * How long before now a moment was, in words; the same as ui.Ago.
 * @param {number} ms milliseconds since the epoch
 * @param {number} now
 * @returns {string}
 */
export function ago(ms, now) {
  const d = Math.abs(now - ms) / 1000;
  let s;
  if (d < 45) return "just now";
  if (d < 90 * 60) s = `${Math.round(d / 60)} min`;
  else if (d < 36 * 3600) s = `${Math.round(d / 3600)} h`;
  else s = `${Math.round(d / 86400)} d`;
  return ms > now ? `in ${s}` : `${s} ago`;
}

/**
 * Date and time of day in the browser's zone, always in the same order.
 * @param {Date} t
 * @returns {string}
 */
export function clock(t) {
  const two = (n) => String(n).padStart(2, "0");
  return `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

/**
 * The same to the millisecond.
 * @param {Date} t
 * @returns {string}
 */
export function moment(t) {
  return `${clock(t)}.${String(t.getMilliseconds()).padStart(3, "0")}`;
}

/**
 * The same to the minute.
 * @param {Date} t
 * @returns {string}
 */
export function minute(t) {
  return clock(t).slice(0, 16);
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * The time of day in the browser's zone, with the date if that is not today's; the
 * same as ui.DayClock.
 * @param {Date} t
 * @param {Date} now
 * @returns {string}
 */
export function dayClock(t, now) {
  const hour = clock(t).slice(11, 16);
  if (clock(t).slice(0, 10) === clock(now).slice(0, 10)) return hour;
  const day = `${t.getDate()} ${months[t.getMonth()]}`;
  return t.getFullYear() === now.getFullYear() ? `${day} ${hour}` : `${day} ${t.getFullYear()} ${hour}`;
}

/**
 * The day in the browser's zone, with the year if that is not this one; the same as
 * ui.Day.
 * @param {Date} t
 * @param {Date} now
 * @returns {string}
 */
export function day(t, now) {
  const name = `${["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][t.getDay()]} ${t.getDate()} ${months[t.getMonth()]}`;
  return t.getFullYear() === now.getFullYear() ? name : `${name} ${t.getFullYear()}`;
}

/** The short name of the browser's zone at a moment. */
export function zone(t) {
  const part = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts(t).find((p) => p.type === "timeZoneName");
  return part ? part.value : "";
}

/** Puts a <time> into the browser's zone and keeps relative ones up to date. */
export function mount(el) {
  const t = new Date(el.dateTime);
  if (Number.isNaN(t.getTime())) return undefined;
  const utc = el.title;
  el.title = `${clock(t)} ${zone(t)}\n${utc}`;
  if (el.dataset.style === "clock") {
    el.textContent = clock(t);
    return undefined;
  }
  if (el.dataset.style === "minute") {
    el.textContent = minute(t);
    return undefined;
  }
  if (el.dataset.style === "moment") {
    el.textContent = moment(t);
    return undefined;
  }
  const update = () => { el.textContent = ago(t.getTime(), Date.now()); };
  update();
  const timer = setInterval(update, 30_000);
  return () => clearInterval(timer);
}
