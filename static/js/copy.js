import { toast } from "./toast.js";

/** A button that copies its data-copy text, or else the value of its attribute. */
export function mount(el) {
  el.hidden = false;
  const copy = async () => {
    const text = el.dataset.copy ?? el.closest('[data-part="attribute"]')?.querySelector('[data-part="value"]')?.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (!copyBySelection(text)) {
        toast("The browser did not allow copying. Select the text and copy it by hand.", "warn");
        return;
      }
    }
    toast("Copied");
  };
  el.addEventListener("click", copy);
  return () => el.removeEventListener("click", copy);
}

// Where the page is not served over https or from this machine, the clipboard
// is out of reach, but a selection can still be copied.
function copyBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "u-hidden";
  document.body.append(area);
  area.select();
  const ok = document.execCommand("copy");
  area.remove();
  return ok;
}
