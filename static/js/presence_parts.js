// Small parts of what is shown of people.
import { initials } from "./presence_words.js";
import { serviceClass } from "./service.js";

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} [text]
 */
export function el(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

/** The face of a person, in their colour. @param {{id: string, name: string}} p */
export function avatar(p) {
  const a = el("span", `Avatar ${serviceClass(p.id)}`, initials(p.name));
  a.setAttribute("aria-hidden", "true");
  a.title = p.name;
  return a;
}

/**
 * @param {string} text
 * @param {string} key by which the focus finds it again
 * @param {(e: Event) => void} act
 * @param {string} [title]
 */
export function button(text, key, act, title) {
  const b = el("button", "Button Button--small", text);
  b.type = "button";
  b.dataset.key = key;
  if (title) b.title = title;
  b.addEventListener("click", act);
  return b;
}
