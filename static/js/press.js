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

/** The fields that text is written into. */
export const texts = "textarea, input[type=text], input:not([type])";

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
 * Closes the menus in el and leaves a text there: somebody goes on.
 * @param {Element} el
 * @param {boolean} typing whether it leaves a text
 */
export function goOn(el, typing = true) {
  for (const menu of el.querySelectorAll("details.Menu[open]")) menu.open = false;
  if (typing && el.contains(document.activeElement) && document.activeElement.matches(texts)) document.activeElement.blur();
}

/**
 * Kept as soon as nothing is pressed, and in el no menu is open and nobody types: what
 * was begun since somebody asked for what comes is of what stands there.
 * @param {Element} el
 * @param {AbortSignal} signal breaks it when nobody waits any more
 * @param {boolean} typing whether it waits for who types, too
 */
export async function handsOff(el, signal, typing = true) {
  const inUse = () => el.querySelector(openMenu) || (typing && el.contains(document.activeElement) && document.activeElement.matches(texts));
  await letGo();
  while (!signal.aborted && inUse()) {
    await new Promise((done) => {
      for (const type of ["toggle", "focusout"]) el.addEventListener(type, done, { capture: true, once: true });
      signal.addEventListener("abort", done, { once: true });
    });
    await letGo();
  }
  signal.throwIfAborted();
}

const openMenu = "details.Menu[open], .CellMenu";

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
