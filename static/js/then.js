// A board as it was: its times in the reader's zone, and keys that walk through
// its changes. Nothing can be written to the past.
import { localise } from "./board_swap.js";
import { isTyping } from "./keys.js";

const steps = { ArrowLeft: "The change before", ArrowRight: "The change after", Home: "The first change" };

/**
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  localise(el);
  const key = (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.shiftKey || e.defaultPrevented || isTyping(e) || document.querySelector("dialog[open]")) return;
    if (e.key === "Escape") el.querySelector(".Replay-now")?.click();
    const link = steps[e.key] && el.querySelector(`.Replay a[aria-label="${steps[e.key]}"]`);
    if (!link) return;
    e.preventDefault();
    link.click();
  };
  document.addEventListener("keydown", key);
  return () => document.removeEventListener("keydown", key);
}
