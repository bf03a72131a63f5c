// A board as it was: its times in the reader's zone, and keys that walk through
// its changes. Nothing can be written to the past.
import { localise } from "./board_swap.js";
import { bind } from "./keys.js";

/**
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  localise(el);
  const link = (label) => el.querySelector(`.Replay a[aria-label="${label}"]`);
  const step = (key, shown, does, label) => ({ key, shown: [shown], does, when: () => link(label) !== null, run: () => link(label).click() });
  return bind("then", [
    step("ArrowLeft", "←", "the board a change before", "The change before"),
    step("ArrowRight", "→", "the board a change after", "The change after"),
    step("Home", "Home", "the board at its first change", "The first change"),
    { key: "Escape", shown: ["Esc"], does: "back to now", when: () => !document.querySelector("details.Menu[open]"), run: () => el.querySelector(".Replay-now")?.click() },
  ]);
}
