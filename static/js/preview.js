// A live preview below a field of Markdown: what the server will make of it.

const delay = 250; // ms after the last key

/** @param {HTMLElement} el the field, with its textarea */
export function mount(el) {
  const area = el.querySelector("textarea");
  const box = document.createElement("div");
  box.className = "Preview";
  box.setAttribute("aria-label", "Preview");
  box.setAttribute("role", "region");
  box.hidden = true;
  el.after(box);
  let timer;
  let asked = 0;
  const draw = async () => {
    const text = area.value;
    const mine = ++asked;
    // Plain text needs none: it will look as it does.
    if (!looksLikeMarkdown(text)) {
      box.hidden = true;
      return;
    }
    try {
      const res = await fetch("/preview", { method: "POST", body: new URLSearchParams({ text }) });
      if (!res.ok || mine !== asked) return;
      const doc = new DOMParser().parseFromString(await res.text(), "text/html");
      box.replaceChildren(...[...doc.body.children].map((c) => document.adoptNode(c)));
      box.hidden = false;
    } catch {
      // Without the server there is no preview; the text is kept all the same.
    }
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(draw, delay);
  };
  area.addEventListener("input", later);
  area.form?.addEventListener("reset:done", later);
  if (area.value !== area.defaultValue) later();
  return () => {
    clearTimeout(timer);
    asked++;
    area.removeEventListener("input", later);
    area.form?.removeEventListener("reset:done", later);
    box.remove();
  };
}

/**
 * Whether a text would look other than it was typed.
 * @param {string} text
 */
export function looksLikeMarkdown(text) {
  return /[*_`#>|[\]~]|^\s*(?:[-+]|\d+[.)])\s|https?:\/\//m.test(text);
}
