// What the address of a trace page says: all that is on screen. The server
// reads and writes the same (handlers/trace_state.go).

/** Folded and opened rows that an address carries at most. */
const MAX_KEYS = 200;

/**
 * @typedef {object} TraceState
 * @property {string} trace
 * @property {string} span key of the selected row, "" for none
 * @property {number} levels rows of this level and deeper start folded; 0: none
 * @property {string[]} fold keys folded by hand
 * @property {string[]} open keys opened by hand although levels would fold them
 * @property {number} from zoom, nanoseconds from the trace's start
 * @property {number} to both 0: the whole trace
 * @property {number} part part of the trace's time that the axis shows, from 1; 0: the main one
 * @property {boolean} critical the critical path is drawn
 * @property {string} search
 * @property {string} fields filter of the attributes in the span panel
 */

/**
 * Reads the state of an address. What cannot be read is left out.
 * @param {string} path path and query
 * @returns {TraceState}
 */
export function parseState(path) {
  const url = new URL(path, "http://x");
  const [, , trace = "", span = ""] = url.pathname.split("/").map(decodeURIComponent);
  const q = url.searchParams;
  const half = q.get("half") ?? "";
  const levels = Number(q.get("levels"));
  const part = Number(q.get("part"));
  const zoom = /^(\d+)-(\d+)$/.exec(q.get("zoom") ?? "");
  const zoomed = zoom !== null && Number(zoom[1]) < Number(zoom[2]);
  return {
    trace,
    span: span && half && half.length < 3 ? `${span}.${half}` : span,
    levels: Number.isInteger(levels) && levels > 0 ? levels : 0,
    fold: keys(q.get("fold")),
    open: keys(q.get("open")),
    from: zoomed ? Number(zoom[1]) : 0,
    to: zoomed ? Number(zoom[2]) : 0,
    part: Number.isInteger(part) && part > 0 ? part : 0,
    critical: q.get("critical") === "1",
    search: (q.get("q") ?? "").trim(),
    fields: (q.get("fields") ?? "").trim(),
  };
}

function keys(text) {
  return text ? text.split(",").slice(0, MAX_KEYS) : [];
}

function escape(text) {
  return encodeURIComponent(text).replaceAll("%20", "+");
}

/**
 * The address of a state, path and query.
 * @param {TraceState} st
 * @returns {string}
 */
export function href(st) {
  const [span, half] = st.span.split(".");
  const q = [];
  const add = (name, value) => value && q.push(`${name}=${value}`);
  add("half", span && half);
  add("levels", st.levels || "");
  add("fold", st.fold.join(","));
  add("open", st.open.join(","));
  add("zoom", st.to > 0 && `${Math.round(st.from)}-${Math.round(st.to)}`);
  add("part", st.part || "");
  add("critical", st.critical && "1");
  add("q", escape(st.search));
  add("fields", escape(st.fields));
  return `/t/${st.trace}${span ? `/${span}` : ""}${q.length ? `?${q.join("&")}` : ""}`;
}

/**
 * Whether a row with children is folded.
 * @param {TraceState} st
 * @param {string} key
 * @param {number} depth from 0
 * @returns {boolean}
 */
export function isFolded(st, key, depth) {
  if (st.levels > 0 && depth + 1 >= st.levels) return !st.open.includes(key);
  return st.fold.includes(key);
}

/**
 * The state after folding or unfolding a row.
 * @param {TraceState} st
 * @param {string} key
 * @param {number} depth
 * @returns {TraceState}
 */
export function toggled(st, key, depth) {
  const name = st.levels > 0 && depth + 1 >= st.levels ? "open" : "fold";
  const list = st[name];
  if (list.includes(key)) return { ...st, [name]: list.filter((k) => k !== key) };
  return list.length < MAX_KEYS ? { ...st, [name]: [...list, key] } : st;
}

/**
 * The rows that are not inside a folded one.
 * @param {TraceState} st
 * @param {{key: string[], depth: number[], end: number[]}} rows
 * @returns {number[]}
 */
export function visibleRows(st, rows) {
  const plain = st.levels === 0 && st.fold.length === 0;
  const folded = { ...st, fold: new Set(st.fold), open: new Set(st.open) };
  const isIn = (key, depth) => (st.levels > 0 && depth + 1 >= st.levels ? !folded.open.has(key) : folded.fold.has(key));
  const list = [];
  for (let i = 0; i < rows.key.length;) {
    list.push(i);
    i = !plain && rows.end[i] > i + 1 && isIn(rows.key[i], rows.depth[i]) ? rows.end[i] : i + 1;
  }
  return list;
}

/**
 * The state in which no row above row i is folded.
 * @param {TraceState} st
 * @param {{key: string[], depth: number[], parent: number[]}} rows
 * @param {number} i
 * @returns {TraceState}
 */
export function openedTo(st, rows, i) {
  for (let at = rows.parent[i]; at >= 0; at = rows.parent[at]) {
    if (isFolded(st, rows.key[at], rows.depth[at])) st = toggled(st, rows.key[at], rows.depth[at]);
  }
  return st;
}
