// Pasting an id or a link into a note: the server says what it is, and offers to
// pin it instead.
import { nameable } from "./offer_text.js";
import { letGo } from "./press.js";

/** @param {HTMLTextAreaElement} area */
export function mount(area) {
  let box;
  let asked = 0;
  const paste = async (e) => {
    const text = e.clipboardData?.getData("text/plain").trim() ?? "";
    if (!nameable(text)) return;
    const mine = ++asked;
    try {
      const res = await fetch(`${area.dataset.offer}?text=${encodeURIComponent(text)}`, { headers: { "HX-Request": "true" } });
      if (!res.ok) return;
      const doc = new DOMParser().parseFromString(await res.text(), "text/html");
      const fresh = doc.body.firstElementChild;
      await letGo();
      if (mine !== asked || !area.value.includes(text)) return; // it is there no more, or another was pasted
      box?.remove();
      if (!fresh?.querySelector("form")) return;
      box = document.adoptNode(fresh);
      box.addEventListener("submit", () => take(text));
      // Beside the form of the note: a form cannot stand in another.
      area.form.after(box);
    } catch {
      // Nobody to ask: what was pasted is a text.
    }
  };
  // What is pinned is no text of the note.
  const take = (text) => {
    area.value = area.value.replace(text, "").replace(/[ \t]+$/gm, "").trim();
    area.dispatchEvent(new Event("input", { bubbles: true }));
    setTimeout(() => box?.remove());
  };
  area.addEventListener("paste", paste);
  return () => {
    area.removeEventListener("paste", paste);
    box?.remove();
  };
}
