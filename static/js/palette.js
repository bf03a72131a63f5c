// The palette (Ctrl K): goes anywhere and does what the page offers. A combobox with
// a list: the focus stays in the field, the arrows choose, and what had the focus
// before gets it back. What the page can do is what is bound in keys.js.
import { active } from "./keys.js";
import { rank } from "./fuzzy.js";
import { recent } from "./palette_recent.js";
import { letGo } from "./press.js";
import { ordered, placeOf, sections } from "./palette_list.js";

const typingMillis = 80;

let dialog;
let input;
let list;
let said;
let shown = []; // what is listed, in order
let at = 0;
let start; // what the server lists without a text, of this page
let found = { text: "", items: [] };
let timer;
let asking = 0;

function build() {
  dialog = document.createElement("dialog");
  dialog.className = "Dialog Palette";
  dialog.setAttribute("aria-label", "Go anywhere");
  input = document.createElement("input");
  input.className = "Palette-input";
  input.type = "text";
  input.placeholder = "Go to a screen, an investigation, a service… or paste any id";
  for (const [name, value] of Object.entries({ role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list", "aria-autocomplete": "list", "aria-label": "Go to, or do", autocomplete: "off", spellcheck: "false", maxlength: "500" })) input.setAttribute(name, value);
  list = document.createElement("div");
  list.className = "Palette-list";
  list.id = "palette-list";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Places and actions");
  said = document.createElement("p");
  said.className = "u-hidden";
  said.setAttribute("role", "status");
  dialog.append(input, list, said);
  document.body.append(dialog);

  input.addEventListener("input", () => {
    at = 0;
    draw();
    clearTimeout(timer);
    timer = setTimeout(ask, typingMillis);
  });
  input.addEventListener("keydown", (e) => {
    if (e.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[e.key];
    if (step) choose(Math.abs(step) === 1 ? (at + step + shown.length) % Math.max(shown.length, 1) : Math.min(Math.max(at + step, 0), shown.length - 1));
    else if (e.key === "Enter") take(shown[at], e);
    else if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") dialog.close();
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  list.addEventListener("mousemove", (e) => {
    const i = indexOf(e.target);
    if (i >= 0 && i !== at) choose(i, false);
  });
  list.addEventListener("mousedown", (e) => e.preventDefault()); // the focus stays in the field
  list.addEventListener("click", (e) => {
    const i = indexOf(e.target);
    if (i >= 0) take(shown[i], e);
  });
  dialog.addEventListener("click", (e) => {
    if (e.target === dialog) dialog.close();
  });
}

function indexOf(target) {
  return [...list.querySelectorAll('[role="option"]')].indexOf(target.closest('[role="option"]'));
}

/**
 * Opens the palette.
 * @param {string} [text] what to look for
 */
export function open(text = "") {
  if (!dialog) build();
  if (dialog.open) return;
  document.getElementById("keys")?.close();
  if (document.querySelector("dialog[open]")) return; // what is written there would be lost
  input.value = text;
  at = 0;
  start = undefined;
  found = { text: "", items: [] };
  dialog.showModal(); // closing it gives the focus back
  input.focus();
  draw();
  ask();
}

async function ask() {
  const mine = ++asking;
  const text = input.value.trim();
  const url = new URL("/api/v1/palette", location.href);
  if (text) url.searchParams.set("q", text);
  else for (const p of recent(localStorage)) if (p.path.startsWith("/i/")) url.searchParams.append("i", p.path.slice(3));
  try {
    const res = await fetch(url);
    if (!res.ok || mine !== asking) return;
    const { items } = await res.json();
    if (text) found = { text, items };
    else start = items;
  } catch {
    return; // what is here already still works
  }
  await letGo();
  if (dialog.open && mine === asking) draw();
}

// Everything that may be listed, for the text.
function candidates(text) {
  const actions = active().filter((b) => b.action && b.run).map((b) => ({ kind: "action", label: b.action, detail: "", key: b.key, run: b.run }));
  const named = new Map((start ?? []).filter((it) => it.kind === "recent").map((it) => [it.url, it]));
  const places = recent(localStorage).filter((p) => p.path !== location.pathname + location.search).flatMap((p) => {
    if (!p.path.startsWith("/i/")) return [{ kind: "recent", label: p.title, detail: p.path.startsWith("/explore") ? "Explore" : p.path, url: p.path }];
    const it = named.get(p.path); // only what one may see still
    return it ? [it] : [];
  });
  const rest = (start ?? []).filter((it) => it.kind !== "recent");
  const more = text ? found.items : [];
  return [...actions, ...places, ...rest, ...more];
}

function draw() {
  const text = input.value.trim();
  const before = shown;
  shown = ordered(text, candidates(text), (items) => rank(text, items));
  if (text) shown.push({ kind: "find", label: `Find “${text}” in all data`, detail: "", url: `/find?q=${encodeURIComponent(text)}` });
  at = placeOf(before, at, shown);
  let kind;
  const rows = [];
  let group;
  shown.forEach((it, i) => {
    const section = sections[it.kind] ?? sections.find;
    if (section !== kind) {
      kind = section;
      group = document.createElement("div");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", section);
      const title = document.createElement("div");
      title.className = "Palette-section";
      title.setAttribute("aria-hidden", "true");
      title.textContent = section;
      group.append(title);
      rows.push(group);
    }
    group.append(row(it, i));
  });
  if (rows.length === 0) {
    const empty = document.createElement("p");
    empty.className = "Palette-empty";
    empty.textContent = "Looking…";
    rows.push(empty);
  }
  list.replaceChildren(...rows);
  choose(at);
  said.textContent = `${shown.length} ${shown.length === 1 ? "entry" : "entries"}`;
}

function row(it, i) {
  const el = document.createElement("div");
  el.className = "Palette-row";
  el.id = `palette-${i}`;
  el.setAttribute("role", "option");
  el.setAttribute("aria-selected", "false");
  const label = document.createElement("span");
  label.className = "Palette-label";
  const marked = new Set(it.at ?? []);
  let run = "";
  let bold = false;
  const end = () => {
    if (run === "") return;
    const part = document.createElement(bold ? "b" : "span");
    part.textContent = run;
    label.append(part);
    run = "";
  };
  for (let c = 0; c < it.label.length; c++) {
    if (marked.has(c) !== bold) {
      end();
      bold = marked.has(c);
    }
    run += it.label[c];
  }
  end();
  const detail = document.createElement("span");
  detail.className = "Palette-detail";
  detail.textContent = it.detail;
  el.append(label, detail);
  if (it.key) {
    for (const k of it.key.split(" ")) {
      const key = document.createElement("kbd");
      key.className = "Key";
      key.textContent = k;
      el.append(key);
    }
  }
  return el;
}

function choose(i, scroll = true) {
  const rows = [...list.querySelectorAll('[role="option"]')];
  rows[at]?.setAttribute("aria-selected", "false");
  at = Math.max(i, 0);
  const row = rows[at];
  if (!row) {
    input.removeAttribute("aria-activedescendant");
    return;
  }
  row.setAttribute("aria-selected", "true");
  input.setAttribute("aria-activedescendant", row.id);
  if (scroll) row.scrollIntoView({ block: at === 0 ? "end" : "nearest" });
}

function take(it, e) {
  if (!it) return;
  if (it.run) {
    dialog.close();
    it.run();
  } else if (e.ctrlKey || e.metaKey) window.open(it.url, "_blank", "noopener");
  else {
    dialog.close();
    location.assign(it.url);
  }
}
