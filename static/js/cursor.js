// Where people point and type, by what is shown and not by the screen: a row of a
// trace, a field of its span, a block of a board, a place in a text. One's own is
// told, those of others are drawn as a small mark with the name. A mark never takes
// a click, and nobody's pointer is shown where fingers point.
import { el } from "./presence_parts.js";
import { send } from "./live.js";
import { placeIn } from "./cursor_text.js";
import { serviceClass } from "./service.js";
import { typingWords } from "./presence_words.js";
import { texts } from "./press.js";

const tellEvery = 50; // ms
const typingMillis = 4_000; // after the last letter

/** @type {Map<string, {mark: HTMLElement, cursor: object, person: string, name: string}>} by the page it is on */
const marks = new Map();
let layer;
let known = new Set();

/** Begins to tell one's own cursor. */
export function begin() {
  let told = "null";
  let timer = 0;
  let typing = 0;
  let pointed = null;
  let up = false;
  const tell = () => {
    timer = 0;
    const cursor = writing(performance.now() < typing) ?? pointed;
    const key = JSON.stringify(cursor);
    if (key !== told && send("cursor.set", { cursor })) told = key;
  };
  const soon = () => {
    if (up && known.size > 0) timer ||= setTimeout(tell, tellEvery);
  };
  document.addEventListener("pointermove", (e) => {
    if (e.pointerType !== "mouse") return;
    pointed = pointedAt(e.target);
    soon();
  }, { passive: true });
  document.documentElement.addEventListener("pointerleave", () => {
    pointed = null;
    soon();
  });
  document.addEventListener("input", (e) => {
    if (!e.isTrusted) return;
    typing = performance.now() + typingMillis;
    soon();
    setTimeout(soon, typingMillis + 50);
  });
  document.addEventListener("selectionchange", soon);
  document.addEventListener("focusout", soon);
  addEventListener("trace:select", soon);
  restart = (yes) => {
    up = yes;
    told = "null";
    soon();
  };
  const again = () => layout();
  addEventListener("scroll", again, { capture: true, passive: true });
  addEventListener("resize", again);
  new MutationObserver((list) => {
    if (list.some((m) => !layer?.contains(m.target))) layout();
  }).observe(document.getElementById("main"), { childList: true, subtree: true });
}

let restart = () => {};

/** The connection is up or lost. @param {boolean} up */
export function state(up) {
  if (!up) for (const id of [...marks.keys()]) drop(id);
  restart(up);
}

/** Who else is here: marks of others go. @param {{id: string}[]} people */
export function know(people) {
  const before = known.size;
  known = new Set(people.map((p) => p.id));
  for (const [id, m] of marks) if (!known.has(m.person)) drop(id);
  if (before === 0 && known.size > 0) restart(true);
}

/** @param {{from: string, person: string, name: string, cursor: object | null}} m */
export function moved(m) {
  if (!m.cursor) return drop(m.from);
  let at = marks.get(m.from);
  if (!at) {
    at = { mark: el("div", `Cursor ${serviceClass(m.person)}`) };
    at.mark.append(el("span", "Cursor-caret"), el("span", "Cursor-name"));
    marks.set(m.from, at);
  }
  at.cursor = m.cursor;
  at.person = m.person;
  at.name = m.name;
  const words = typingWords(m.cursor);
  at.mark.querySelector(".Cursor-name").textContent = words ? `${m.name} ${words}` : m.name;
  at.mark.classList.toggle("Cursor--typing", Boolean(words));
  layout();
}

function drop(id) {
  marks.get(id)?.mark.remove();
  marks.delete(id);
}

// One's own place in a text, null when not in one.
function writing(typing) {
  const a = document.activeElement;
  if (a?.matches?.(texts) && a.form) {
    const form = a.form.dataset.form ?? a.form.dataset.part;
    const panel = a.closest(".SpanPanel");
    const block = a.closest("[data-block]")?.dataset.block ?? "";
    const field = { annotate: "annotation", annotation: "annotation", note: "note", add: "note", title: "title" }[form] ?? (form === "block" ? a.name : "");
    if (!field || (!block && !panel && !a.closest(".Investigation"))) return null;
    return { trace: panel?.dataset.trace ?? "", span: panel?.dataset.span ?? "", block, field, offset: a.selectionStart ?? -1, typing };
  }
  const s = getSelection();
  const prose = s.anchorNode?.parentElement?.closest("[data-block] .Prose");
  if (!prose || s.isCollapsed) return null;
  const block = prose.closest("[data-block]");
  if (block.querySelector(".Prose") !== prose) return null; // of an annotation
  const range = document.createRange();
  range.setStart(prose, 0);
  range.setEnd(s.focusNode, s.focusOffset);
  return { trace: "", span: "", block: block.dataset.block, field: "prose", offset: range.toString().length, typing: false };
}

function pointedAt(target) {
  const row = target.closest('.Waterfall [role="row"][data-key]');
  if (row) return { trace: row.closest(".Waterfall").dataset.trace, span: row.dataset.key, block: "", field: "", offset: -1, typing: false };
  const panel = target.closest(".SpanPanel");
  const field = target.closest('[data-part="attribute"]');
  if (panel && field) return { trace: panel.dataset.trace, span: panel.dataset.span, block: "", field: keyOf(field), offset: -1, typing: false };
  const block = target.closest("[data-block]");
  if (block) return { trace: "", span: "", block: block.dataset.block, field: "", offset: -1, typing: false };
  return null;
}

const keyOf = (attribute) => attribute.dataset.key ?? attribute.querySelector('[data-part="key"]')?.textContent ?? "";

// What a cursor stands at on this page, and the point in the window where its
// mark goes; null if it is not in view.
function pointOf(c) {
  if (c.span) return spanPoint(c);
  if (c.block) return blockPoint(c);
  const target = { title: "#board-head", note: '#composer [data-form="note"] textarea', annotation: "#board-notes textarea" }[c.field];
  return edge(target && document.querySelector(target));
}

function spanPoint(c) {
  const panel = document.querySelector(`.SpanPanel[data-span="${CSS.escape(c.span)}"]`);
  if (panel && c.field === "annotation") return edge(panel.querySelector('[data-part="annotate"]') ?? panel);
  if (panel && c.field) {
    const field = [...panel.querySelectorAll('[data-part="attribute"]')].find((a) => keyOf(a) === c.field);
    if (field) return edge(field);
  }
  const row = document.getElementById(`r-${c.span}`);
  const rows = row?.closest('[data-part="scroll"]');
  return edge(row?.querySelector('[data-part="link"]') ?? row, rows, rows?.querySelector('[data-part="head"]')?.offsetHeight);
}

function blockPoint(c) {
  const block = document.getElementById(c.block);
  if (!block) return null;
  const prose = block.querySelector(".Block-body .Prose");
  if (c.field === "prose" && prose) return placeIn(prose, c.offset) ?? edge(block);
  const field = block.querySelector(`form[data-form="block"] [name="${CSS.escape(c.field)}"]`);
  if (field?.checkVisibility?.() && c.offset >= 0) return placeIn(field, c.offset) ?? edge(field);
  if (c.field === "annotation") return edge(block.querySelector('form[data-form="annotate"]:not([hidden])')) ?? edge(block);
  return edge(block);
}

// The right end of the upper edge, if that is in the window and in the box that
// scrolls it.
function edge(target, box, head = 0) {
  if (!target?.checkVisibility?.()) return null;
  const r = target.getBoundingClientRect();
  const top = Math.max(box ? box.getBoundingClientRect().top + head : 0, 0);
  const bottom = Math.min(box ? box.getBoundingClientRect().bottom : innerHeight, innerHeight);
  if (r.top + 4 < top || r.top + 12 > bottom) return null;
  const right = box ? Math.min(r.right, box.getBoundingClientRect().right) : r.right;
  return { x: right, y: r.top, height: 0 };
}

let frame = 0;

function layout() {
  if (marks.size === 0 && !layer) return;
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (!layer) {
      layer = el("div", "Cursors");
      layer.setAttribute("aria-hidden", "true");
      document.body.append(layer);
    }
    const stacked = new Map(); // marks at one point stand beside each other
    for (const { mark, cursor } of marks.values()) {
      const at = pointOf(cursor);
      mark.hidden = !at;
      if (!at) continue;
      const spot = `${Math.round(at.x)},${Math.round(at.y)}`;
      const n = stacked.get(spot) ?? 0;
      stacked.set(spot, n + 1);
      mark.classList.toggle("Cursor--text", at.height > 0);
      mark.style.setProperty("--height", `${at.height}px`);
      mark.style.transform = `translate(${at.x}px, ${at.y - n * 18}px)`;
      if (!mark.isConnected) layer.append(mark);
    }
  });
}
