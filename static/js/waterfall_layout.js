// The layout of the waterfall as pure functions: rows, bars, ticks, zoom. The
// server draws the first rows by the same rules (handlers/trace_view.go).
import { duration } from "./duration.js";

/** Flags of a row. */
export const ERROR = 1;
export const MISSING = 2;

/**
 * Adds what follows from the depths: each row's parent, the end of its subtree,
 * and the errors below it.
 * @param {object} data the columns as the server lists them
 * @returns {object} the same columns with parent, end and below
 */
export function decodeRows(data) {
  const n = data.key.length;
  const parent = new Array(n).fill(-1);
  const end = new Array(n);
  const errorsBelow = new Array(n).fill(0);
  const above = [];
  for (let i = 0; i < n; i++) {
    while (above.length > data.depth[i]) end[above.pop()] = i;
    parent[i] = above.length ? above[above.length - 1] : -1;
    above.push(i);
  }
  while (above.length) end[above.pop()] = n;
  for (let i = n - 1; i >= 0; i--) {
    if (parent[i] >= 0) errorsBelow[parent[i]] += errorsBelow[i] + (data.flags[i] & ERROR ? 1 : 0);
  }
  return { ...data, parent, end, errorsBelow, index: new Map(data.key.map((key, i) => [key, i])) };
}

/**
 * Writes part of whole as an SVG percentage.
 * @param {number} part
 * @param {number} whole
 * @returns {string}
 */
export function percent(part, whole) {
  const p = Number(((part / Math.max(whole, 1)) * 100).toFixed(3));
  return `${p === 0 ? 0 : p}%`;
}

/**
 * Places a bar in the window, cut a little beyond its edges: huge coordinates
 * lose their precision in browsers.
 * @returns {{x: string, width: string}}
 */
export function barOf(start, end, from, to) {
  const extent = Math.max(to - from, 1);
  const a = Math.min(Math.max((start - from) / extent, -0.01), 1.01);
  const b = Math.min(Math.max((end - from) / extent, -0.01), 1.01);
  return { x: percent(a * extent, extent), width: percent((b - a) * extent, extent) };
}

/**
 * Places the words beside a bar: after it, or before it if that leaves no room.
 * @returns {{x: string, end: boolean}}
 */
export function noteOf(start, end, from, to) {
  const extent = Math.max(to - from, 1);
  const after = (end - from) / extent;
  if (after <= 0.82) return { x: percent(Math.max(after, 0) * extent, extent), end: false };
  const before = (start - from) / extent;
  if (before >= 0.18) return { x: percent(Math.min(before, 1) * extent, extent), end: true };
  return { x: "100%", end: true };
}

/**
 * Round marks in the window, at most six.
 * @param {number} from
 * @param {number} to
 * @returns {{x: string, text: string, last: boolean}[]}
 */
export function timeTicks(from, to) {
  const extent = Math.max(to - from, 1);
  let step = 1;
  for (let grow = 0; Math.floor(extent / step) > 5; grow++) step = grow % 3 === 1 ? (step / 2) * 5 : step * 2;
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    const part = (at - from) / extent;
    ticks.push({ x: percent(at - from, extent), text: at === 0 ? "0" : duration(at), last: part > 0.92 });
  }
  return ticks;
}

/** The narrowest zoom, in nanoseconds: below it there is nothing left to see. */
const MIN_ZOOM = 100;

/**
 * Brings a zoom into the trace, at least MIN_ZOOM wide. The whole trace is 0, 0.
 * @param {number} from
 * @param {number} to
 * @param {number} extent
 * @returns {{from: number, to: number}}
 */
export function clampZoom(from, to, extent) {
  if (from > to) [from, to] = [to, from];
  let width = Math.min(Math.max(to - from, MIN_ZOOM), extent);
  width = Math.round(width);
  from = Math.round(Math.min(Math.max(from, 0), extent - width));
  if (width >= extent) return { from: 0, to: 0 };
  return { from, to: from + width };
}

/**
 * The zoom that shows a row with a little room on both sides.
 * @returns {{from: number, to: number}}
 */
export function zoomTo(start, length, extent) {
  const room = Math.max(length * 0.05, 1);
  return clampZoom(start - room, start + length + room, extent);
}

/**
 * The next of a sorted list of rows after (or before) a row, round at the end.
 * @param {number[]} list
 * @param {number} at -1: none
 * @param {1 | -1} direction
 * @returns {number} -1 if the list is empty
 */
export function nextOf(list, at, direction) {
  if (list.length === 0) return -1;
  if (direction > 0) return list.find((i) => i > at) ?? list[0];
  return list.findLast((i) => i < at) ?? list[list.length - 1];
}

/**
 * Rows to draw for a scroll position, with some beyond each edge.
 * @returns {{first: number, last: number}} last is excluded
 */
export function rowsInView(scrolled, height, row, count, beyond = 12) {
  const first = Math.max(0, Math.min(Math.floor(scrolled / row), count) - beyond);
  const last = Math.min(count, Math.ceil((scrolled + height) / row) + beyond);
  return { first, last: Math.max(first, last) };
}

// Levels are drawn WIDE pixels apart, deep ones NARROW, and beyond MAX_INDENT no
// further in, as views.WaterfallRow draws them.
const WIDE = 14;
const WIDE_LEVELS = 8;
const NARROW = 4;
const MAX_INDENT = 20;

function indentOf(depth) {
  return Math.min(depth, WIDE_LEVELS) * WIDE + Math.max(Math.min(depth, MAX_INDENT) - WIDE_LEVELS, 0) * NARROW;
}

/**
 * The lines before a name, one for each level above.
 * @param {number} depth
 * @returns {{width: number, path: string}}
 */
export function guides(depth) {
  let path = "";
  for (let i = 0; i < Math.min(depth, MAX_INDENT); i++) path += `M${indentOf(i) + (i < WIDE_LEVELS ? WIDE : NARROW) / 2}.5 0v44`;
  return { width: indentOf(depth), path };
}
