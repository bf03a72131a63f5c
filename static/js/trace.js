// The page of a trace beside its waterfall: loads the panel of the selected
// span, and the keys that act on it.
import { mountAll, unmountAll } from "./mount.js";
import { toast } from "./toast.js";
import { bind, comes, isTyping } from "./keys.js";
import { goOn, handsOff } from "./press.js";
import { takeNotes } from "./trace_notes.js";

const SETTLE = 70; // milliseconds: a held j does not ask for every panel on its way

/**
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  const stop = new AbortController();
  const panel = el.querySelector('[data-part="panel"]');
  const empty = el.querySelector('template[data-part="no-span"]');
  let timer = 0;
  let asking = new AbortController();

  const show = (nodes) => {
    for (const old of panel.children) unmountAll(old);
    panel.replaceChildren(...nodes);
    panel.scrollTop = 0;
    notes.restore(panel);
    return mountAll(panel);
  };
  const load = async (href) => {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    panel.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(href, { signal, headers: { "HX-Request": "true", Accept: "text/html" } });
      if (answer.status === 401) location.reload();
      if (!answer.ok) throw new Error(`${href}: ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      await handsOff(panel, signal);
      const mounted = show([...page.body.children]);
      el.querySelector('[data-part="thread"]').href = panel.querySelector('[data-part="effects"]')?.href ?? `/thread/${el.dataset.trace}`;
      panel.removeAttribute("aria-busy");
      await mounted; // its keys work now
      return true;
    } catch (err) {
      if (err.name === "AbortError") return false;
      console.error("redthread: span panel", err);
      toast("The span could not be loaded. Pick it again to try once more.", "warn");
      panel.removeAttribute("aria-busy");
      return false;
    }
  };

  el.addEventListener("trace:select", (e) => {
    clearTimeout(timer);
    asking.abort(); // nobody waits for it any more
    goOn(panel);
    comes(new Promise((shown) => {
      if (e.detail.key) {
        timer = setTimeout(() => shown(load(e.detail.href)), SETTLE);
        return;
      }
      show([...empty.content.cloneNode(true).children]);
      panel.removeAttribute("aria-busy");
      shown(true);
    }));
  }, { signal: stop.signal });

  panel.addEventListener("click", (e) => {
    if (!e.target.closest('[data-part="close"]') || e.ctrlKey || e.metaKey) return;
    e.preventDefault();
    el.dispatchEvent(new CustomEvent("trace:close", { bubbles: true }));
  }, { signal: stop.signal });

  const notes = takeNotes(el);

  const press = (name) => panel.querySelector(`[data-part="${name}"]`) ?? el.querySelector(`[data-part="${name}"]`);
  const can = (...names) => () => names.some((n) => press(n) != null);
  const unbind = bind("trace", [
    { key: "o", waits: true, does: "what caused the selected span: its thread, with the way from the origin", action: "Go to the origin: what caused this", when: can("origin", "thread"), run: () => (press("origin") ?? press("thread")).click() },
    { key: "e", waits: true, does: "what the selected span caused", action: "Show the effects", when: can("effects", "thread"), run: () => (press("effects") ?? press("thread")).click() },
    { key: "t", waits: true, does: "follow the thread", action: "Follow the thread", when: can("thread"), run: () => press("thread").click() },
    { key: "c", waits: true, does: "write about the selected span", action: "Write about this", run: () => notes.write(panel) },
  ]);
  document.addEventListener("keydown", (e) => {
    if (e.key !== "Escape" || e.ctrlKey || e.metaKey || e.altKey || e.shiftKey || e.defaultPrevented || isTyping(e) || document.querySelector("dialog[open]")) return;
    if (panel.querySelector('[data-part="close"]')) el.dispatchEvent(new CustomEvent("trace:close", { bubbles: true }));
  }, { signal: stop.signal });

  return () => {
    clearTimeout(timer);
    comes(Promise.resolve(false));
    asking.abort();
    stop.abort();
    unbind();
    notes.close();
  };
}
