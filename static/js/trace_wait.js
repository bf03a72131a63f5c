import { isTyping } from "./keys.js";

const EVERY = 2000; // milliseconds
const TRIES = 60;

/**
 * The page of a trace that has not arrived: looks again for two minutes and
 * opens it once it is there.
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  const words = el.querySelector('[data-part="waiting"]');
  words.hidden = false;
  let left = TRIES;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    if (left-- <= 0) {
      clearInterval(timer);
      words.hidden = true;
      return;
    }
    try {
      const answer = await fetch(el.dataset.href, { method: "HEAD" });
      // Not under somebody who looks for another.
      if (answer.ok && !isTyping({ target: document.activeElement }) && !document.querySelector("dialog[open]")) location.reload();
    } catch {
      // The server is away for a moment: the next look will tell.
    }
  }, EVERY);
  return () => clearInterval(timer);
}
