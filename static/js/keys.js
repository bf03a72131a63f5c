// The one registry of keys. A module binds its keys while they work; the list behind
// "?" and the actions of the palette are what is bound and works just now. No key is
// heard while somebody types, in a dialog, or with Ctrl, Alt or ⌘. Two owners that
// bind one key at once are a fault, which the console tells and a test looks for.
import { toast } from "./toast.js";
import { leave } from "./owner.js";
import { visit } from "./palette_recent.js";
import { activeKeys, chordKey, conflictsOf } from "./keys_list.js";
import { waitingKeys } from "./keys_wait.js";
import { texts } from "./press.js";

const chordMillis = 1200;
const mountMillis = 3_000; // how long the keys wait for the modules of a slow connection

/** @typedef {import("./keys_list.js").Binding} Binding */

/** @type {{owner: string, list: Binding[]}[]} */
const bound = [];

/**
 * Reports whether a key press is text for a field and not a command.
 * @param {KeyboardEvent} e
 * @returns {boolean}
 */
export function isTyping(e) {
  return e.isComposing || takesText(e.target);
}

const takesText = (t) => t instanceof HTMLElement && (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) && !/^(checkbox|radio|button|submit)$/.test(t.type));

/**
 * Binds keys until the result is called. Of several with the same owner, the last
 * one whose when holds is meant.
 * @param {string} owner the module
 * @param {Binding[]} list
 * @returns {() => void}
 */
export function bind(owner, list) {
  const entry = { owner, list };
  bound.push(entry);
  const bad = conflictsOf(bound);
  if (bad.length > 0) console.error(`redthread: keys bound twice: ${bad.join(", ")}`);
  return () => {
    const at = bound.indexOf(entry);
    if (at >= 0) bound.splice(at, 1);
  };
}

/** @returns {Binding[]} what works on this page now */
export function active() {
  return activeKeys(bound);
}

/** @returns {string[]} keys that two owners claim now */
export function conflicts() {
  return conflictsOf(bound);
}

// What waited is pressed: into the field, if one before it went to one.
const waiting = waitingKeys((e) => {
  const field = document.activeElement;
  if (!takesText(field)) return command(e);
  if (!field.matches(texts)) return false;
  field.setRangeText(e.key, field.selectionStart, field.selectionEnd, "end");
  return field.dispatchEvent(new Event("input", { bubbles: true }));
});

/**
 * Says that what keys are about will be shown: those with waits, or all.
 * @type {(shown: Promise<boolean>, all?: boolean) => void} shown is kept once it is, with false if it is not
 */
export const comes = waiting.comes;

let chordUntil = 0;

/** Does what a key is bound to; false if there is nothing. */
function command(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || isTyping(e) || document.querySelector("dialog[open]")) return false;
  const chord = e.timeStamp < chordUntil;
  // What nothing is bound to now may be what comes.
  const now = (b) => !b.waits && (b.key === e.key || b.key.startsWith(`${e.key} `));
  if (!chord && waiting.takes(e, () => !bound.some(({ list }) => list.some(now)))) return true;
  chordUntil = !chord && e.key === "g" ? e.timeStamp + chordMillis : 0;
  const key = chord ? chordKey("g", e.key) : e.key;
  const act = active().find((b) => b.key === key && !b.listed);
  act?.run(e);
  return act !== undefined;
}

/** Shows the list of keys. */
export function showKeys() {
  const dialog = document.getElementById("keys");
  if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
  const list = document.getElementById("keys-list");
  list.replaceChildren();
  for (const b of active()) if (b.key) list.append(keyRow(b.shown ?? b.key.split(" "), b.does));
  dialog.showModal();
}

function keyRow(keys, does) {
  const row = document.createElement("div");
  row.className = "Keys-row";
  const term = document.createElement("dt");
  for (const k of keys) {
    const key = document.createElement("kbd");
    key.className = "Key";
    key.textContent = k;
    term.append(key, " ");
  }
  const words = document.createElement("dd");
  words.textContent = does;
  row.append(term, words);
  return row;
}

const mac = /Mac|iPhone|iPad/.test(navigator.platform);
const go = (path) => () => location.assign(path);

/**
 * Begins to listen to the keys of the whole page, once its modules have bound
 * theirs. What was pressed before is heard then.
 * @param {Promise<unknown>} ready
 * @param {(text?: string) => void} openPalette what Ctrl K does
 */
export function listen(ready, openPalette) {
  const find = document.querySelector(".TopBar-input");
  bind("shell", [
    ...(find ? [{ key: "Ctrl K", shown: [mac ? "⌘" : "Ctrl", "K"], does: "go anywhere, do anything", listed: true }] : []),
    { key: "/", does: "find, or search in this page", when: () => search() !== null, run: () => search().focus() },
    { key: "g h", does: "go home", run: go("/") },
    { key: "g e", does: "go to Explore", run: go("/explore") },
    { key: "g t", does: "go to Threads", run: go("/ripples") },
    { key: "g s", does: "go to Services", run: go("/services") },
    { key: "g i", does: "go to Investigations", run: go("/investigations") },
    { key: "g n", does: "go to the inbox", run: go("/inbox") },
    { key: "?", does: "this list", run: showKeys, action: "Show the keys of this page" },
    { key: "", does: "", run: () => document.querySelector('[data-js~="theme"] button')?.click(), action: "Switch between light and dark" },
    { key: "y", does: "copy the link to what is on screen", run: copyLink, action: "Copy the link of this page" },
    { key: "", does: "", when: () => document.querySelector(".Menu form[action='/sign-out']") !== null, run: () => document.querySelector("form[action='/sign-out']").requestSubmit(), action: "Sign out" },
    { key: "Esc", does: "close what is open", listed: true },
  ]);
  // What is shown is kept when it comes, and as it was when one leaves it.
  const keep = () => visit(localStorage, location.pathname + location.search, document.title);
  if (find) {
    keep();
    addEventListener("pagehide", keep);
  }
  document.addEventListener("submit", (e) => {
    if (e.target.getAttribute("action") !== "/sign-out") return;
    removeEventListener("pagehide", keep);
    leave(localStorage, sessionStorage);
  });
  const opens = (e) => find && (e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey && e.key.toLowerCase() === "k";
  const hear = () => {
    document.addEventListener("keydown", (e) => {
      if (opens(e)) {
        e.preventDefault();
        openPalette();
      } else if (e.key === "Escape" && e.target === find && find) find.blur();
    });
    // In the capture phase, so that the second key of a chord is none of its own.
    document.addEventListener("keydown", (e) => {
      if (e.defaultPrevented || !command(e)) return;
      e.preventDefault();
      e.stopImmediatePropagation();
    }, { capture: true });
    const early = window.earlyKeys?.() ?? [];
    const palette = early.findIndex(opens);
    early.slice(0, palette < 0 ? undefined : palette).forEach(command);
    // What is written into the palette before it is seen is meant for it.
    if (palette >= 0) openPalette(early.slice(palette + 1).map((e) => (e.key.length === 1 ? e.key : "")).join(""));
  };
  Promise.race([ready, new Promise((late) => setTimeout(late, mountMillis))]).then(hear);
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    toast("Link copied");
  } catch {
    toast("The browser did not allow copying. The address bar has the link.", "warn");
  }
}

function search() {
  return document.querySelector('main [data-key="/"]') ?? document.querySelector(".TopBar-input");
}

/** The button that shows the list of keys. */
export function mount(el) {
  el.hidden = false;
  el.addEventListener("click", showKeys);
  return () => el.removeEventListener("click", showKeys);
}
