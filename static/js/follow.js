// Following somebody: this page goes where theirs goes, with a frame in their
// colour that says so. Any own action lets go. What to show arrives as an address;
// a page that can show it without loading does so on "view:go", else it is loaded.
// The tab remembers whom it follows from page to page.
import { toast } from "./toast.js";
import { avatar, button, el } from "./presence_parts.js";
import { send } from "./live.js";
import { afterPress } from "./press.js";
import { scrollLike } from "./view.js";
import { serviceClass } from "./service.js";

const stored = "redthread:follow"; // in sessionStorage
const askMillis = 30_000;
const awayMillis = 1_500; // as long as somebody may be between two pages
const lostMillis = 600_000; // how long somebody may be nowhere to be seen

/** @type {{id: string, name: string, path?: string} | null} */
let led = null;
let changed = () => {};
let frame;
let lost = 0; // ends the following of somebody who does not come back
let turning = 0; // says that they are away
let away = false;
let scroll;

/** Whom this page follows, or null. */
export function leader() {
  return led;
}

/**
 * Begins to listen for own actions, and goes on following from the page before.
 * @param {() => void} onChange is told when somebody is followed, or nobody
 */
export function begin(onChange) {
  changed = onChange;
  const act = (e) => {
    if (!led || !e.isTrusted || e.target.closest?.(".Follow-label")) return;
    if (e.type === "keydown" && ["Shift", "Control", "Alt", "Meta"].includes(e.key)) return;
    stop();
  };
  for (const type of ["keydown", "pointerdown", "wheel", "touchmove"]) addEventListener(type, act, { capture: true, passive: true });
  const before = sessionStorage.getItem(stored);
  if (before) {
    led = JSON.parse(before);
    draw();
  }
}

/** Follows a person. @param {{id: string, name: string}} p */
export function start(p) {
  led = { id: p.id, name: p.name };
  keep();
  draw();
  send("follow.start", { person: p.id });
}

/** Follows nobody any more. */
export function stop() {
  if (!led) return;
  send("follow.stop", {});
  over();
}

/** The connection is up or lost. @param {boolean} up @param {boolean} [forGood] lost for good */
export function state(up, forGood) {
  if (forGood && led) over();
  if (up && led) send("follow.start", { person: led.id, again: true });
}

/** @param {object} m a message of the socket */
export function hear(m) {
  if (m.type === "follow.moved" && led?.id === m.person) return go(m);
  if (m.type === "follow.ended" && led?.id === m.person) {
    const name = m.name || led.name;
    over();
    const words = {
      refused: `${name} lets nobody follow.`,
      gone: `${name} is not here any more.`,
      loop: `You cannot follow ${name}: they follow you, or somebody who does.`,
      let_go: `${name} goes on without you.`,
    };
    return toast(words[m.reason] ?? `You follow ${name} no more.`);
  }
  if (m.type === "follow.asked" && led?.id !== m.person) ask({ id: m.person, name: m.name });
}

function go(m) {
  if (m.name && m.name !== led.name) led.name = m.name;
  back();
  if (!m.path) {
    turning = setTimeout(() => {
      away = true;
      draw();
    }, awayMillis);
    lost = setTimeout(() => {
      toast(`${led.name} did not come back. You are on your own again.`);
      stop();
    }, lostMillis);
    return;
  }
  const there = m.path === location.pathname + location.search || m.path === led.path;
  led.path = m.path;
  keep();
  draw();
  if (!there && document.dispatchEvent(new CustomEvent("view:go", { cancelable: true, detail: { href: m.path } }))) {
    location.assign(m.path);
    return;
  }
  // A page that is being drawn may not have yet what to scroll to.
  cancelAnimationFrame(scroll);
  scroll = requestAnimationFrame(() => {
    scroll = requestAnimationFrame(() => scrollLike(m.scroll));
  });
}

function over() {
  led = null;
  back();
  sessionStorage.removeItem(stored);
  draw();
}

function back() {
  clearTimeout(lost);
  clearTimeout(turning);
  away = false;
}

function keep() {
  sessionStorage.setItem(stored, JSON.stringify(led));
}

function draw() {
  changed();
  if (!led) {
    frame?.remove();
    frame = undefined;
    return;
  }
  const text = away ? `${led.name} is somewhere you cannot see. You go on when they are back.` : `You follow ${led.name}.`;
  if (frame?.dataset.text === text) return;
  frame?.remove();
  frame = el("div", `Follow ${serviceClass(led.id)}`);
  frame.dataset.text = text;
  const label = el("div", "Follow-label");
  const words = el("span", "Follow-text", text);
  words.setAttribute("role", "status");
  label.append(avatar(led), words, el("span", "Follow-hint", "Any key or click lets go."), button("Stop", "follow-stop", stop));
  frame.append(label);
  document.body.append(frame);
}

// Asks whether to follow somebody who wants to be followed.
function ask(p) {
  const key = `asked-${p.id}`;
  document.getElementById(key)?.remove();
  const card = el("div", "Toast Follow-ask");
  card.id = key;
  const away = () => card.remove();
  card.append(avatar(p), el("span", "", `${p.name} asks you to follow.`),
    button("Follow", "ask-yes", () => {
      away();
      start(p);
    }),
    button("Not now", "ask-no", away));
  document.getElementById("toasts")?.append(card);
  setTimeout(() => afterPress(away), askMillis);
}
