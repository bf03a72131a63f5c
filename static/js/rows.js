// The keys of pages whose rows name spans, jobs or traces: each such row, or
// card, says in data-thread where its thread is.
import { toast } from "./app.js";
import { isTyping } from "./keys.js";

/**
 * The element that a key is about: the one with the focus in it, else the one
 * pointed at, else the only one there is.
 * @param {ParentNode} root
 * @param {Element | null} focused
 * @returns {HTMLElement | null}
 */
export function threadOf(root, focused) {
  const all = [...root.querySelectorAll("[data-thread]")].filter((e) => e.dataset.thread);
  const pointed = all.filter((e) => e.matches(":hover"));
  return focused?.closest("[data-thread]") ?? pointed.at(-1) ?? (all.length === 1 ? all[0] : null);
}

/**
 * The row to go to from a row.
 * @param {number} at -1: from none
 * @param {number} count
 * @param {1 | -1} direction
 * @returns {number} -1 if there is none
 */
export function rowAfter(at, count, direction) {
  if (count === 0) return -1;
  if (at < 0) return direction > 0 ? 0 : count - 1;
  return Math.min(Math.max(at + direction, 0), count - 1);
}

/**
 * @param {HTMLElement} el what holds the rows
 * @returns {() => void}
 */
export function mount(el) {
  const stop = new AbortController();
  const go = (hash) => {
    const row = threadOf(el, document.activeElement);
    if (row) location.assign(row.dataset.thread + hash);
    else toast("Point at a row, or go to one with j and k, then press the key again.");
  };
  const step = (direction) => {
    const rows = [...el.querySelectorAll("tr[data-thread]")].filter((r) => r.querySelector("a") && r.offsetParent);
    const next = rowAfter(rows.indexOf(document.activeElement?.closest("tr[data-thread]")), rows.length, direction);
    if (next >= 0) rows[next].querySelector("a").focus();
  };
  const keys = { o: () => go(""), e: () => go("#effects"), j: () => step(1), k: () => step(-1) };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.shiftKey || e.defaultPrevented || isTyping(e) || document.querySelector("dialog[open]")) return;
    const act = keys[e.key];
    if (!act || !el.querySelector("[data-thread]")) return;
    e.preventDefault();
    act();
  }, { signal: stop.signal });
  return () => stop.abort();
}
