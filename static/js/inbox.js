// The inbox: "e" puts the message under the focus away, "j" and "k" move.

/** @param {HTMLElement} el */
export function mount(el) {
  const items = () => [...el.querySelectorAll(".Inbox-item")];
  const key = (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, textarea, select")) return;
    const list = items();
    const at = list.findIndex((i) => i.contains(document.activeElement));
    if (e.key === "e" && at >= 0) {
      e.preventDefault();
      list[at].querySelector('[data-part="done"]')?.requestSubmit();
    } else if (e.key === "j" || e.key === "k") {
      e.preventDefault();
      const next = list[Math.min(Math.max(at + (e.key === "j" ? 1 : -1), 0), list.length - 1)];
      next?.querySelector(".Inbox-link").focus();
    }
  };
  document.addEventListener("keydown", key);
  return () => document.removeEventListener("keydown", key);
}
