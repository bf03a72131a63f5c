// The keys of pages whose rows name spans, jobs or traces: each such row, or
// card, says in data-thread where its thread is. Rows that lead elsewhere have
// data-row, so that they can be stepped through too.
import { toast } from "./toast.js";
import { bind } from "./keys.js";
import { rowAfter } from "./rows_step.js";

const ROWS = "tr[data-thread], tr[data-row]";

/**
 * The element that a key is about: the one with the focus in it, else the one
 * pointed at, else the only one there is.
 * @param {ParentNode} root
 * @param {Element | null} focused
 * @returns {HTMLElement | null}
 */
export function threadOf(root, focused) {
  const all = [...root.querySelectorAll("[data-thread]")].filter((e) => e.dataset.thread.startsWith("/"));
  const pointed = all.filter((e) => e.matches(":hover"));
  return focused?.closest("[data-thread]") ?? pointed.at(-1) ?? (all.length === 1 ? all[0] : null);
}

/**
 * @param {HTMLElement} el what holds the rows: the page. A trace and the map of a
 * thread have keys of their own.
 * @returns {() => void}
 */
export function mount(el) {
  if (el.querySelector('[data-js~="trace"], [data-js~="thread"] [data-part="map"]')) return undefined;
  const go = (hash) => {
    const row = threadOf(el, document.activeElement);
    if (row) location.assign(row.dataset.thread + hash);
    else toast("Point at a row, or go to one with j and k, then press the key again.");
  };
  const step = (direction) => {
    const rows = [...el.querySelectorAll(ROWS)].filter((r) => r.querySelector("a") && r.offsetParent);
    const next = rowAfter(rows.indexOf(document.activeElement?.closest(ROWS)), rows.length, direction);
    if (next >= 0) rows[next].querySelector("a").focus();
  };
  // A board steps through its blocks.
  const some = (selector) => () => el.querySelector(selector) !== null && !(selector.startsWith("tr") && el.querySelector("[data-block]"));
  return bind("rows", [
    { key: "j", does: "next row", when: some(ROWS), run: () => step(1) },
    { key: "k", does: "row before", when: some(ROWS), run: () => step(-1) },
    { key: "o", does: "what caused the row in focus, or pointed at", when: some("[data-thread]"), run: () => go("") },
    { key: "e", does: "what the row in focus, or pointed at, caused", when: some("[data-thread]"), run: () => go("#effects") },
  ]);
}
