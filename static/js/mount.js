// Finds [data-js] elements, imports the module of that name and calls its
// mount(el); undoes it again when the element leaves the page.

/** @type {WeakMap<Element, Map<string, (() => void) | undefined>>} */
const mounted = new WeakMap();

/**
 * Mounts the modules of root and of everything in it. data-js may name several.
 * @param {ParentNode & Node} root
 * @returns {Promise<unknown>} kept once all are there, or failed
 */
export function mountAll(root) {
  const found = [...root.querySelectorAll("[data-js]")];
  if (root instanceof Element && root.matches("[data-js]")) found.unshift(root);
  return Promise.all(found.flatMap((el) => el.dataset.js.split(/\s+/).filter(Boolean).map((name) => mount(el, name))));
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

// What htmx takes out of the page is undone first.
document.addEventListener("htmx:beforeCleanupElement", (e) => {
  if (e.target instanceof Element && mounted.has(e.target)) unmountAll(e.target);
});
