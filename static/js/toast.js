import { afterPress } from "./press.js";

const kept = "redthread:toast"; // in sessionStorage

/**
 * Says something on the page that this tab goes to now.
 * @param {string} text
 */
export function toastNext(text) {
  sessionStorage.setItem(kept, text);
}

/** Says what was kept for this page. */
export function toastKept() {
  const text = sessionStorage.getItem(kept);
  sessionStorage.removeItem(kept);
  if (text) toast(text);
}

/**
 * Says something for a few seconds at the edge of the page.
 * @param {string} text
 * @param {"" | "warn"} [tone]
 */
export function toast(text, tone = "") {
  const el = document.createElement("div");
  el.className = tone ? `Toast Toast--${tone}` : "Toast";
  el.textContent = text;
  document.getElementById("toasts")?.append(el);
  setTimeout(() => afterPress(() => el.remove()), 6000);
}
