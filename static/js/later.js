// A part of a page that takes longer than the rest: it is asked for once the page
// stands, and takes the place of what says so. Without a script a link leads to the
// page with all of it.
import { mountAll } from "./mount.js";
import { letGo } from "./press.js";

/**
 * @param {HTMLElement} el names the address in data-href
 * @returns {() => void}
 */
export function mount(el) {
  const part = (name) => el.querySelector(`[data-part="${name}"]`);
  const gone = new AbortController();
  const load = async () => {
    part("waiting").hidden = false;
    part("link").hidden = true;
    try {
      const answer = await fetch(el.dataset.href, { signal: gone.signal });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const doc = new DOMParser().parseFromString(await answer.text(), "text/html");
      const parts = [...doc.body.children].map((c) => document.adoptNode(c));
      await letGo();
      if (gone.signal.aborted) return;
      el.replaceChildren(...parts);
      mountAll(el);
    } catch (err) {
      if (gone.signal.aborted) return;
      console.error("redthread: a later part", err);
      part("waiting").hidden = true;
      part("failed").hidden = false;
      part("link").hidden = false;
    }
  };
  load();
  return () => gone.abort();
}
