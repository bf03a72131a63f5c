// The entry of every page: finds [data-js] elements, imports the module of that
// name and calls its mount(el), again after each htmx swap.

import { listen } from "./keys.js";

/** @type {WeakMap<Element, Map<string, (() => void) | undefined>>} */
const mounted = new WeakMap();

/**
 * Mounts the modules of root and of everything in it. data-js may name several.
 * @param {ParentNode & Node} root
 */
export function mountAll(root) {
  const found = [...root.querySelectorAll("[data-js]")];
  if (root instanceof Element && root.matches("[data-js]")) found.unshift(root);
  for (const el of found) {
    for (const name of el.dataset.js.split(/\s+/).filter(Boolean)) mount(el, name);
  }
}

async function mount(el, name) {
  if (!/^[a-z][a-z0-9_-]*$/.test(name)) return;
  const undos = mounted.get(el) ?? new Map();
  if (undos.has(name)) return;
  undos.set(name, undefined);
  mounted.set(el, undos);
  try {
    const module = await import(`./${name}.js`);
    if (!el.isConnected || mounted.get(el) !== undos) return;
    undos.set(name, module.mount(el) ?? undefined);
    el.toggleAttribute("data-mounted", true);
  } catch (err) {
    console.error(`redthread: module ${name}`, err);
  }
}

/**
 * Undoes the modules of root and of everything in it.
 * @param {Element} root
 */
export function unmountAll(root) {
  for (const el of [root, ...root.querySelectorAll("[data-js]")]) {
    for (const undo of mounted.get(el)?.values() ?? []) undo?.();
    mounted.delete(el);
  }
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
  setTimeout(() => el.remove(), 6000);
}

document.addEventListener("htmx:beforeCleanupElement", (e) => {
  if (e.target instanceof Element && mounted.has(e.target)) unmountAll(e.target);
});
document.addEventListener("htmx:load", (e) => mountAll(e.detail.elt));
document.addEventListener("htmx:responseError", (e) => {
  const status = e.detail.xhr.status;
  if (status !== 401) toast(`That did not work (${status}). Nothing was changed; try again.`, "warn");
});
document.addEventListener("htmx:sendError", () => toast("The server cannot be reached. Nothing was changed.", "warn"));

mountAll(document);
listen(); // with the page, so that no key is pressed too early
import("./presence.js").then((m) => m.begin());
