// Naming somebody in a text: a list opens below it with the people and teams whose name
// begins with what stands behind an @, after the ARIA combobox pattern.
import { mentionAt, withMention } from "./mention_text.js";

const delay = 80; // ms after the last key

let made = 0; // lists, for their ids

/** @param {HTMLTextAreaElement} area names in data-mention whom to ask */
export function mount(area) {
  const stop = new AbortController();
  let list = null;
  let choices = [];
  let at = 0;
  let timer;
  let asked = 0;

  const close = () => {
    clearTimeout(timer);
    asked++;
    if (!list) return;
    list.remove();
    list = null;
    for (const name of ["role", "aria-autocomplete", "aria-expanded", "aria-controls", "aria-activedescendant", "aria-haspopup"]) area.removeAttribute(name);
  };
  const select = (i) => {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = i;
    list.children[at].setAttribute("aria-selected", "true");
    list.children[at].scrollIntoView({ block: "nearest" });
    area.setAttribute("aria-activedescendant", list.children[at].id);
  };
  const take = (i) => {
    const name = mentionAt(area.value, area.selectionStart);
    const choice = choices[i];
    close();
    if (!name) return;
    const to = withMention(area.value, name.start, area.selectionStart, choice.insert);
    area.value = to.text;
    area.setSelectionRange(to.caret, to.caret);
    area.focus();
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const option = (c, i) => {
    const o = document.createElement("div");
    o.className = "Mentions-option";
    o.id = `${list.id}-${i}`;
    o.setAttribute("role", "option");
    o.setAttribute("aria-selected", "false");
    const name = Object.assign(document.createElement("bdi"), { className: "Mentions-name", textContent: c.name });
    const note = Object.assign(document.createElement("span"), { className: "Mentions-note", textContent: c.team ? "team" : c.insert === c.name ? "" : c.insert });
    o.append(name, note);
    o.addEventListener("pointerdown", (e) => {
      e.preventDefault(); // the text keeps the focus
      take(i);
    });
    return o;
  };
  // It stands in the top layer, so that no box that scrolls cuts it; below the text, or
  // above it where there is no room.
  const place = () => {
    const r = area.getBoundingClientRect();
    const below = r.bottom + list.offsetHeight + 4 <= innerHeight;
    list.style.left = `${Math.max(4, Math.min(r.left, innerWidth - list.offsetWidth - 4))}px`;
    list.style.top = `${below ? r.bottom + 2 : Math.max(4, r.top - list.offsetHeight - 2)}px`;
  };
  const open = (found) => {
    close();
    choices = found;
    if (choices.length === 0) return;
    list = document.createElement("div");
    list.className = "Mentions";
    list.id = `mentions-${++made}`;
    list.popover = "manual";
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "People and teams");
    list.append(...choices.map(option));
    document.body.append(list);
    list.showPopover();
    place();
    for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-expanded": "true", "aria-controls": list.id })) area.setAttribute(name, value);
    at = 0;
    select(0);
  };
  const ask = async (name) => {
    const mine = ++asked;
    const url = new URL(area.dataset.mention, location.href);
    url.searchParams.set("q", name.typed);
    try {
      const res = await fetch(url, { headers: { Accept: "application/json" } });
      if (!res.ok || mine !== asked || stop.signal.aborted || document.activeElement !== area) return;
      const { mentions } = await res.json();
      // Who is named in full already is nothing to choose.
      const whole = mentions.length === 1 && mentions[0].insert.toLowerCase() === name.typed.toLowerCase();
      if (mine === asked && mentionAt(area.value, area.selectionStart)?.start === name.start) open(whole ? [] : mentions);
    } catch {
      close(); // a name can be typed without
    }
  };
  const input = () => {
    clearTimeout(timer);
    const name = area.selectionStart === area.selectionEnd && mentionAt(area.value, area.selectionStart);
    if (!name) return close();
    timer = setTimeout(() => ask(name), delay);
  };
  const key = (e) => {
    if (!list || e.isComposing || e.ctrlKey || e.metaKey || e.altKey || e.shiftKey) return;
    if (e.key === "ArrowDown") select((at + 1) % choices.length);
    else if (e.key === "ArrowUp") select((at - 1 + choices.length) % choices.length);
    else if (e.key === "Enter" || e.key === "Tab") take(at);
    else if (e.key === "Escape") close();
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  const on = (target, type, act, options) => target.addEventListener(type, act, { signal: stop.signal, ...options });
  on(area, "input", input);
  on(area, "keydown", key);
  if (document.activeElement === area) input(); // it was drawn anew under who writes
  on(area, "blur", close);
  on(area, "click", close);
  on(document, "scroll", (e) => list && !list.contains(e.target) && close(), { capture: true, passive: true });
  return () => {
    stop.abort();
    close();
  };
}
