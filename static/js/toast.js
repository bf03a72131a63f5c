import { afterPress } from "./press.js";

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
