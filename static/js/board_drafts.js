// Drafts on an investigation's page: what is typed survives a reload of the tab
// and a block that somebody else deletes.
import { toast } from "./toast.js";
import { typed } from "./board_swap.js";

// Drafts: the text fields of a form with data-draft, per tab.
const draftKey = (form) => `redthread:draft:${form.dataset.draft}`;

/** Keeps what was typed into a form. */
export function keep(form) {
  const values = {};
  for (const f of form.elements) if (f.name && f.type !== "hidden" && "defaultValue" in f && f.value !== f.defaultValue) values[f.name] = f.value;
  try {
    if (Object.keys(values).length === 0) sessionStorage.removeItem(draftKey(form));
    else sessionStorage.setItem(draftKey(form), JSON.stringify({ values, seen: form.elements.namedItem("seen")?.value, ref: form.elements.namedItem("ref")?.value }));
  } catch {
    // A full or forbidden storage costs the draft's survival of a reload only.
  }
}

/** Forgets it: it was sent. */
export function forget(form) {
  if (form.dataset.draft) sessionStorage.removeItem(draftKey(form));
}

/** Puts kept drafts back into the forms of root. */
export function restoreDrafts(root) {
  for (const form of root.querySelectorAll("form[data-draft]")) {
    const raw = sessionStorage.getItem(draftKey(form));
    if (!raw) continue;
    const { values, seen, ref } = JSON.parse(raw);
    for (const [name, value] of Object.entries(values)) {
      const field = form.elements.namedItem(name);
      if (field && "value" in field) field.value = value;
    }
    if (seen && form.elements.namedItem("seen")) form.elements.namedItem("seen").value = seen;
    // Sent already, but without an answer, it is not made twice.
    if (ref && form.elements.namedItem("ref")) form.elements.namedItem("ref").value = ref;
    const details = form.closest("details");
    if (details) details.open = true;
  }
}

/** Text in a block that somebody deletes meanwhile moves to the clipboard's stead: a note on the page. */
export function rescue(block) {
  for (const fields of typed(block).values()) {
    const text = fields.get("text");
    if (!text) continue;
    const note = document.querySelector('form[data-form="note"]');
    const field = note?.elements.namedItem("text");
    if (!field) continue;
    field.value = field.value ? `${field.value}\n\n${text}` : text;
    keep(note);
    toast("Somebody deleted the block that you were editing. Your text is in the note field below.", "warn");
  }
}
