// Two people changed the same: both versions beside each other, and a choice. What
// was typed is lost in no case: even theirs, once taken, gives mine back.
import { localTime, utcTime } from "./local_fields.js";
import { button, el } from "./presence_parts.js";
import { dayClock } from "./time.js";

/**
 * Shows a conflict beside its form.
 * @param {HTMLFormElement} form
 * @param {{error: {field: string}, yours: unknown, theirs: unknown, merged?: string, offset: number, actor_name: string, at: string}} body the server's answer
 * @param {HTMLElement} place
 */
export function showConflict(form, body, place) {
  const name = body.error.field.replace(/_unix_nano$/, "");
  const nano = name !== body.error.field;
  const first = settable(form, name);
  const mine = first ? first.value : nano ? fromNano(body.yours) : words(body.yours);
  const theirs = nano ? fromNano(body.theirs) : words(body.theirs);
  // The form may have been drawn anew since; this stands in the one of now.
  const now = () => place.closest("form");
  const field = () => settable(now(), name);
  const seen = () => {
    set(now(), "seen", String(body.offset)); // what is saved from here on was seen
    set(now(), `was_${name}`, nano ? utcTime(theirs) : theirs);
  };
  const put = (text) => {
    field().value = text;
    field().dispatchEvent(new Event("input", { bubbles: true }));
  };
  const back = (text) => button(text, "conflict-back", () => {
    put(mine);
    field().focus();
    place.remove();
  });
  const choices = [
    button("Keep mine", "conflict-mine", () => {
      seen();
      now().requestSubmit();
    }, "Save yours in the place of theirs"),
    button("Keep theirs", "conflict-theirs", () => {
      seen();
      if (!first) return place.remove();
      if ("defaultValue" in field()) field().defaultValue = theirs;
      put(theirs);
      place.replaceChildren("Theirs is kept. ", back("Take mine back"));
    }, "Drop what you changed here"),
  ];
  if (first && body.merged) {
    choices.push(button("Merge", "conflict-merge", () => {
      seen();
      put(body.merged);
      place.replaceChildren("Both are in the text now. Look it over, then save. ", back("Only mine"));
      field().focus();
    }, "Put both into the text, to look over"));
  }
  const row = el("div", "Row");
  row.append(...choices);
  const sides = el("div", "Conflict-sides");
  sides.append(side("Yours", mine), side("Theirs, saved", theirs));
  const what = name.startsWith("references.") ? "evidence" : name.replace("_", " ");
  const ms = Number(body.at) / 1e6;
  const when = ms > 0 ? ` at ${dayClock(new Date(ms), new Date())}` : " meanwhile";
  place.replaceChildren(el("p", "", `${body.actor_name || "Somebody"} changed the ${what}${when}. Nothing is lost: take one, or both.`), sides, row);
}

function settable(form, name) {
  const field = form.elements.namedItem(name);
  return field instanceof HTMLElement && "value" in field && field.type !== "hidden" ? field : null;
}

function side(title, text) {
  const section = el("section", "Conflict-side");
  const pre = el("pre", "Conflict-text", text);
  pre.tabIndex = 0;
  section.append(el("h3", "Label", title), pre);
  return section;
}

function set(form, name, value) {
  const field = form.elements.namedItem(name);
  if (field) field.value = value;
}

/** A time as a field shows it; "" is none. */
function fromNano(value) {
  const ms = Number(value) / 1e6;
  return ms > 0 ? localTime(new Date(ms)) : "";
}

function words(value) {
  return value === null || value === undefined ? "" : String(value);
}
