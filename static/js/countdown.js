// The time until something is due, in the head of an investigation.
import { ago } from "./time.js";

/**
 * @param {number} due milliseconds since the epoch
 * @param {number} now
 * @returns {string} the same words as BoardHead.dueLabel in Go
 */
export function dueWords(due, now) {
  if (due > now) return `next update ${ago(due, now)}`;
  return `update overdue ${ago(due, now).replace(/ ago$/, "")}`;
}

/** Keeps the words of an element with data-due up to date, amber once it is over. */
export function mount(el) {
  const due = Date.parse(el.dataset.due);
  if (Number.isNaN(due)) return undefined;
  const update = () => {
    const now = Date.now();
    el.textContent = dueWords(due, now);
    const button = el.closest(".HeadMenu-button");
    button?.classList.toggle("HeadMenu-button--warn", due <= now);
    button?.classList.toggle("HeadMenu-button--quiet", due > now);
  };
  update();
  const timer = setInterval(update, 10_000);
  return () => clearInterval(timer);
}
