// Drafts on an investigation's page: what is typed survives a reload of the tab
// and a block that somebody else deletes.
import { toast } from "./toast.js";
import { touched, typed } from "./board_swap.js";
import { unfold } from "./folded.js";
import { texts } from "./press.js";

// Drafts: the text fields of a form with data-draft, per tab.
const draftKeys = "redthread:draft:";
const draftKey = (form) => draftKeys + form.dataset.draft;

/** The fields that a draft can hold, of which a form may have several of one name. A file is its owner's alone. */
const fieldsOf = (form) => [...form.elements].filter((f) => f.name && !/^(hidden|file|submit|button|checkbox|radio)$/.test(f.type) && "value" in f);

/** Keeps what was typed into a form. */
export function keep(form) {
  const values = fieldsOf(form).flatMap((f, nth) => (touched(f) ? [[nth, f.name, f.value]] : []));
  try {
    if (values.length === 0) sessionStorage.removeItem(draftKey(form));
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
  const begun = Object.keys(sessionStorage).filter((k) => k.startsWith(draftKeys)).map((k) => `data-draft="${k.slice(draftKeys.length)}"`);
  for (const kept of begun.length > 0 ? root.querySelectorAll("details > noscript") : []) {
    if (begun.some((b) => kept.textContent.includes(b))) unfold(kept.parentElement);
  }
  for (const form of root.querySelectorAll("form[data-draft]")) {
    const raw = sessionStorage.getItem(draftKey(form));
    if (!raw) continue;
    const { values, seen, ref } = JSON.parse(raw);
    const fields = fieldsOf(form);
    for (const [nth, name, value] of values) {
      const field = fields[nth]?.name === name ? fields[nth] : fields.find((f) => f.name === name);
      // What was chosen may be gone.
      if (field && !(field instanceof HTMLSelectElement && ![...field.options].some((o) => o.value === value))) field.value = value;
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
  const writing = block.contains(document.activeElement) && document.activeElement.matches(texts);
  for (const fields of typed(block).values()) {
    const text = fields.get("text");
    if (!text) continue;
    const note = document.querySelector('form[data-form="note"]');
    const field = note?.elements.namedItem("text");
    if (!field) continue;
    field.value = field.value ? `${field.value}\n\n${text}` : text;
    keep(note);
    if (writing) field.focus(); // what one writes on would be keys of the page
    toast("Somebody deleted the block that you were editing. Your text is in the note field below.", "warn");
  }
}
