// Forms that stand folded at every block, and are seldom opened, are most of a large
// board. They stand in a noscript, which a browser without scripts shows as it is and
// one with scripts keeps as text, from which they are drawn when they are wanted.
import { mountAll } from "./mount.js";

const keptIn = (details) => details?.querySelector(":scope > noscript");

/** Puts what a fetched part of a page keeps back into text: a parser without scripts has drawn it. */
export function fold(root) {
  for (const kept of root.querySelectorAll("details > noscript")) kept.textContent = kept.innerHTML;
}

/** @returns {boolean} whether what stands in details is drawn */
export const unfolded = (details) => !keptIn(details);

/**
 * Draws what stands in details, if it is not yet. It says "unfolded" then.
 * @param {Element | null | undefined} details
 */
export function unfold(details) {
  const kept = keptIn(details);
  if (!kept) return;
  const doc = new DOMParser().parseFromString(kept.textContent, "text/html");
  kept.replaceWith(...[...doc.body.children].map((c) => document.adoptNode(c)));
  mountAll(details);
  details.dispatchEvent(new Event("unfolded", { bubbles: true }));
}

/**
 * Draws what stands in the details of el as they are opened.
 * @param {HTMLElement} el
 * @param {(details: HTMLElement) => void} drawn
 * @returns {() => void} stops it
 */
export function takeFolded(el, drawn) {
  const click = (e) => unfold(e.target.closest("summary")?.parentElement);
  const toggle = (e) => e.target.open && unfold(e.target);
  const done = (e) => drawn(e.target);
  el.addEventListener("click", click, true);
  el.addEventListener("toggle", toggle, true);
  el.addEventListener("unfolded", done);
  return () => {
    el.removeEventListener("click", click, true);
    el.removeEventListener("toggle", toggle, true);
    el.removeEventListener("unfolded", done);
  };
}
