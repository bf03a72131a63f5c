// A press is one act, from where it begins to its click: what is pressed has to stand
// there still when it is let go, or the click is lost. Whatever the page puts in the
// place of something by itself therefore waits while anything is pressed.
const clickMillis = 50; // from letting go to the click at most: of a mouse it comes at once
const tapMillis = 400; // of a finger the browser waits whether it is a double tap
const longest = 10_000; // ms: then the end was missed, as when a native menu took it

let pressed = false;
let ending = false; // it was let go, and its click is not heard yet
let timer;
let waiting = [];

/**
 * Calls act now, or once nothing is pressed any more.
 * @param {() => void} act
 */
export function afterPress(act) {
  if (pressed) waiting.push(act);
  else act();
}

/** @returns {Promise<void>} kept as soon as nothing is pressed */
export const letGo = () => new Promise(afterPress);

/**
 * Begins to watch what is pressed.
 * @param {EventTarget} page the window
 */
export function watchPresses(page) {
  const on = (type, act) => page.addEventListener(type, act, { capture: true, passive: true });
  on("pointerdown", (e) => e.button === 0 && begin());
  on("pointerup", (e) => end(e.pointerType === "mouse" ? clickMillis : tapMillis));
  on("click", () => end(0)); // once everybody has heard it
  on("pointercancel", () => end(0));
  on("contextmenu", () => end(0));
  on("dragstart", () => end(0));
  on("pointermove", (e) => e.pointerType === "mouse" && e.buttons === 0 && !ending && end(clickMillis));
  on("blur", (e) => e.target === page && end(0));
  // A button is pressed by keys, too, and clicks when they are let go.
  on("keydown", (e) => (e.key === " " || e.key === "Enter") && e.target.matches?.("button, summary, a[href], input:is([type=checkbox], [type=radio])") && begin());
  on("keyup", () => end(0));
}

function begin() {
  pressed = true;
  ending = false;
  clearTimeout(timer);
  timer = setTimeout(free, longest);
}

function end(millis) {
  if (!pressed) return;
  ending = true;
  clearTimeout(timer);
  timer = setTimeout(free, millis);
}

function free() {
  pressed = false;
  for (const act of waiting.splice(0)) queueMicrotask(act); // one that fails keeps none from going on
}
