// Swapping parts of an investigation's page without losing what somebody does in
// them: text, focus, what is unfolded.
import { mountAll, unmountAll } from "./mount.js";
import { fold, unfold, unfolded } from "./folded.js";
import { localFields } from "./local_fields.js";
import { letGo, texts } from "./press.js";
import { clock, day, dayClock, minute, zone } from "./time.js";

/**
 * Fetches a part of the page, null if it is gone. It comes when nothing is pressed,
 * to be put in its place at once.
 * @param {string} path
 * @param {string} [selector] of the part in what comes; default: its first element
 */
export async function fragment(path, selector) {
  const doc = await fetched(path, selector ? {} : { "HX-Request": "true" });
  const el = selector ? doc?.querySelector(selector) : doc?.body.firstElementChild;
  return el ? document.adoptNode(el) : null;
}

/**
 * Fetches several parts of the page at once, as [fragment] does one.
 * @param {string} path
 * @returns {Promise<Element[]>} those that are there
 */
export async function fragments(path) {
  const doc = await fetched(path, { "HX-Request": "true" });
  return [...(doc?.body.children ?? [])].map((el) => document.adoptNode(el));
}

async function fetched(path, headers) {
  const res = await fetch(path, { headers });
  if (!res.ok && res.status !== 404) throw new Error(String(res.status));
  const text = await res.text();
  await letGo();
  if (res.status === 404) return null;
  const doc = new DOMParser().parseFromString(text, "text/html");
  fold(doc);
  return doc;
}

/** Puts fresh in the place of old and carries over what the person does there. */
export function replace(old, fresh) {
  const kept = typed(old);
  const said = new Map([...old.querySelectorAll("form > .Form-said")].map((e) => [formKey(e.parentElement), e]));
  const focus = focusOf(old);
  const scrolled = scrollsOf(old);
  const open = [...old.querySelectorAll("details[open]")].map((d) => detailsKey(old, d));
  const drawn = [...old.querySelectorAll("details[data-key]")].filter(unfolded).map((d) => detailsKey(old, d));
  unmountAll(old);
  old.replaceWith(fresh);
  for (const d of fresh.querySelectorAll("details")) {
    if (drawn.includes(detailsKey(fresh, d))) unfold(d);
    if (open.includes(detailsKey(fresh, d))) d.open = true;
  }
  for (const form of fresh.querySelectorAll("form")) {
    if (said.has(formKey(form))) form.append(said.get(formKey(form)));
    const was = kept.get(formKey(form));
    if (!was) continue;
    // What was typed belongs to the version that was seen then.
    for (const [name, value] of was) {
      const field = form.elements.namedItem(name);
      if (field && "value" in field) field.value = value;
    }
  }
  for (const b of fresh.querySelectorAll('[data-part="save"]')) b.hidden = true;
  localise(fresh);
  mountAll(fresh);
  if (focus) {
    const field = focus.home === undefined ? fresh : focused(fresh, focus);
    field?.focus({ preventScroll: true });
    if (focus.range && field?.matches(texts)) field.setSelectionRange(...focus.range);
  }
  for (const { at, nth, to } of scrolled) peers(fresh, at)[nth]?.scrollTo(to);
}

// How far what can be scrolled in root is.
function scrollsOf(root) {
  return [...root.querySelectorAll("textarea, [tabindex], .Menu-list")].filter((e) => e.scrollTop > 0 || e.scrollLeft > 0).map((e) => {
    const at = { home: homeKey(root, homeOf(root, e)), tag: e.localName, name: e.name ?? "" };
    return { at, nth: peers(root, at).indexOf(e), to: { top: e.scrollTop, left: e.scrollLeft, behavior: "instant" } };
  });
}

/** The fields of the forms that differ from how they were drawn, with the hidden ones, by form. */
export function typed(root) {
  const out = new Map();
  for (const form of root.querySelectorAll("form")) {
    const fields = [...form.elements].filter((f) => f.name && f.type !== "hidden" && touched(f));
    if (fields.length === 0) continue;
    const names = new Set(fields.map((f) => f.name));
    const all = new Map();
    for (const f of form.elements) {
      // What was there before belongs to the field that was changed, if it was.
      const of = f.name?.startsWith("was_") ? f.name.slice(4) : f.name;
      if (names.has(of) || (f.type === "hidden" && of === f.name)) all.set(f.name, f.value);
    }
    out.set(formKey(form), all);
  }
  return out;
}

/** Whether a field says something else than when it was drawn. */
export function touched(field) {
  if (field instanceof HTMLSelectElement) {
    const drawn = [...field.options].findIndex((o) => o.defaultSelected);
    return field.selectedIndex !== Math.max(drawn, field.options.length > 0 ? 0 : -1);
  }
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  return "defaultValue" in field && field.value !== field.defaultValue;
}

export const formKey = (form) => `${form.dataset.form} ${new URL(form.action, location.href).pathname} ${form.elements.namedItem("pin_id")?.value ?? ""}${form.elements.namedItem("parent_id")?.value ?? ""} ${form.querySelector('input[name="kind"]')?.value ?? ""}`;
const detailsKey = (root, d) => d.dataset.key ? `${d.closest("[data-block]")?.dataset.block ?? ""} ${d.dataset.key}` : String([...root.querySelectorAll("details:not([data-key])")].indexOf(d));

// Where the focus is in root: in the closest part that can be told from the others,
// by its name and words, and which of those it is. home is missing for root itself.
export function focusOf(root) {
  const a = document.activeElement;
  if (!a || !root.contains(a)) return null;
  if (a === root) return {};
  const at = { home: homeKey(root, homeOf(root, a)), tag: a.localName, name: a.name ?? "" };
  const words = wordsOf(a);
  const range = a.matches(texts) ? [a.selectionStart, a.selectionEnd] : null;
  return { ...at, words, nth: peers(root, at, words).indexOf(a), range };
}

// The same in what took root's place. A button may say something else by now.
export function focused(root, at) {
  const same = peers(root, at, at.words);
  return same[at.nth] ?? same[0] ?? peers(root, at)[0];
}

const homes = "form, details, [id], [data-entry]";
const homeOf = (root, el) => {
  const home = el.parentElement.closest(homes);
  return home && root.contains(home) ? home : root;
};
const homeKey = (root, home) => {
  if (home === root) return "";
  if (home.hasAttribute("id")) return `#${home.getAttribute("id")}`; // a form's own id may be a field of it
  if (home.dataset.entry) return `entry ${home.dataset.entry}`;
  if (home.matches("form")) return `form ${formKey(home)}`;
  const above = homeOf(root, home);
  const key = home.dataset.key ?? [...above.querySelectorAll("details")].indexOf(home);
  return `${homeKey(root, above)} details ${key}`;
};
const wordsOf = (el) => el.getAttribute("aria-label") ?? el.textContent.trim();
const peers = (root, { home, tag, name }, words) =>
  [...root.querySelectorAll(tag)].filter((e) => (e.name ?? "") === name && (words === undefined || wordsOf(e) === words) && homeKey(root, homeOf(root, e)) === home);

/** Puts the times of day into the reader's time zone, and the fields that ask for one. */
export function localise(root) {
  localFields(root);
  const times = [...root.querySelectorAll("time[data-clock]")];
  if (root.matches?.("time[data-clock]")) times.push(root);
  inZone(times, new Date());
  for (const t of root.querySelectorAll('time[data-style="minute"]')) t.textContent = minute(new Date(t.dateTime)); // at once: its module comes a little later
  for (const list of root.querySelectorAll("[data-days]")) days(list);
}

// Their date is said where it is not that of base.
function inZone(times, base) {
  for (const t of times) {
    const d = new Date(t.dateTime);
    if (Number.isNaN(d.getTime())) continue;
    t.textContent = dayClock(d, base);
    t.title = `${clock(d)} ${zone(d)}`;
  }
}

// Days begin elsewhere in the reader's zone: the headings of a timeline are put anew,
// as Timeline.days of the views does in UTC.
function days(list) {
  for (const heading of list.querySelectorAll(".Timeline-day")) heading.remove();
  const entries = [...list.querySelectorAll("[data-entry]")].map((el) => {
    const recorded = list.closest("[data-recorded]") ? el.querySelector(".Timeline-recorded time") : null;
    return { el, at: new Date((recorded ?? el.querySelector("time[data-clock]")).dateTime) };
  });
  const dayOf = (e) => e && clock(e.at).slice(0, 10);
  const starts = entries.filter((e, i) => dayOf(e) !== dayOf(entries[i - 1]));
  if (starts.length < 2) return;
  for (const e of entries) inZone(e.el.querySelectorAll("time[data-clock]"), e.at);
  for (const e of starts) {
    const heading = document.createElement("li");
    heading.className = "Timeline-day";
    heading.append(document.createElement("h3"));
    heading.firstChild.textContent = day(e.at, new Date());
    e.el.before(heading);
  }
}
