/** The address of the Explore page: changes to its parameters, without the DOM. */
import { formatFilter, quoteColumn } from "./explore_text.js";

/**
 * The address a form stands for: empty inputs are left out, and From and To
 * where a relative range counts.
 * @param {Iterable<[string, string]>} entries
 * @returns {URLSearchParams}
 */
export function searchOf(entries) {
  const q = new URLSearchParams();
  for (const [name, value] of entries) {
    const text = value.trim();
    if (text !== "") q.append(name, text);
  }
  if (q.has("range")) {
    q.delete("from");
    q.delete("to");
  }
  return q;
}

/**
 * Adds a filter, once.
 * @param {URLSearchParams} search
 * @param {string} column
 * @param {string} op
 * @param {unknown} [value]
 */
export function withFilter(search, column, op, value) {
  const q = copy(search);
  const text = formatFilter({ column, op, value });
  if (!q.getAll("w").includes(text)) q.append("w", text);
  return q;
}

/**
 * The filter that keeps, or with exclude drops, rows with a value; undefined
 * means that they have none.
 * @param {URLSearchParams} search
 * @param {string} column
 * @param {unknown} value
 * @param {boolean} exclude
 */
export function withValue(search, column, value, exclude) {
  if (value === undefined || value === null) {
    return withFilter(search, column, exclude ? "exists" : "does-not-exist");
  }
  return withFilter(search, column, exclude ? "!=" : "=", value);
}

/** Groups by a column too. @param {URLSearchParams} search @param {string} column */
export function withGroup(search, column) {
  const q = copy(search);
  const text = quoteColumn(column);
  if (!q.getAll("g").includes(text)) q.append("g", text);
  q.delete("tab");
  return q;
}

/**
 * Sets an absolute window; times in milliseconds since the epoch.
 * @param {URLSearchParams} search
 * @param {number} from
 * @param {number} to
 */
export function withWindow(search, from, to) {
  const q = copy(search);
  q.delete("range");
  q.delete("step");
  q.set("from", seconds(from));
  q.set("to", seconds(to));
  return q;
}

/**
 * Selects a part of the rows, to be compared with the rest: a stretch of time in
 * milliseconds since the epoch and, if there is a column, its numbers. The window
 * becomes absolute, so that the address keeps meaning the same.
 * @param {URLSearchParams} search
 * @param {{from?: number, to?: number, column?: string, min?: number, max?: number}} s
 * @param {{from: number, to: number}} window
 */
export function withSelection(search, s, window) {
  const q = withTab(withoutSelection(search), "bubbleup");
  if (q.has("range")) {
    q.delete("range");
    q.set("from", seconds(window.from));
    q.set("to", seconds(window.to));
  }
  if (s.from !== undefined && s.from > window.from) q.set("sfrom", seconds(s.from));
  if (s.to !== undefined && s.to < window.to) q.set("sto", seconds(s.to));
  if (s.column !== undefined) {
    q.append("s", formatFilter({ column: s.column, op: ">=", value: s.min }));
    q.append("s", formatFilter({ column: s.column, op: "<", value: s.max }));
  }
  return q;
}

/** Drops the selection, and the tab that compares it. @param {URLSearchParams} search */
export function withoutSelection(search) {
  const q = copy(search);
  for (const name of ["s", "sfrom", "sto"]) q.delete(name);
  if (q.get("tab") === "bubbleup") q.delete("tab");
  return q;
}

/** Shows another tab. @param {URLSearchParams} search @param {string} tab */
export function withTab(search, tab) {
  const q = copy(search);
  if (tab === "results") q.delete("tab");
  else q.set("tab", tab);
  return q;
}

function copy(search) {
  const q = new URLSearchParams(search);
  q.delete("after"); // a page of rows belongs to one query
  return q;
}

function seconds(milli) {
  return String(Math.round(milli) / 1000);
}
