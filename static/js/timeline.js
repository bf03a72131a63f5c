// The timeline of a board: drawn anew as the log grows, at most once a second, as
// every change may move it; the form of an entry opens below the entry.
import { mountAll } from "./mount.js";
import { fragment, localise, replace } from "./board_swap.js";
import { toast } from "./toast.js";

const PAUSE = 1000; // milliseconds
const AGAIN = 1500; // after what failed

const entryOf = (root, id) => root.querySelector(`[data-entry="${CSS.escape(id)}"]`);

/**
 * @param {HTMLElement} el the page
 * @param {string} base the path of the investigation
 * @returns {{draw: () => Promise<void>, close: () => void}}
 */
export function takeTimeline(el, base) {
  const panel = () => el.querySelector('[data-part="timeline-panel"]');
  const settings = () => {
    const from = new URLSearchParams(location.search);
    const to = new URLSearchParams();
    for (const name of ["timeline", "order"]) if (from.has(name)) to.set(name, from.get(name));
    return to.size > 0 ? `?${to}` : "";
  };
  let last = 0;
  let waiting;
  let timer;
  let asked = 0;
  let drawn = 0;
  const fetchIt = async () => {
    last = performance.now();
    const mine = ++asked;
    const fresh = await fragment(`${base}/timeline${settings()}`);
    const old = panel();
    if (!fresh || !old || mine < drawn) return; // what was asked for later came before it
    drawn = mine;
    const known = new Set([...old.querySelectorAll("[data-entry]")].map((e) => e.dataset.entry));
    // What is typed in the form of an entry stays.
    const writing = document.activeElement?.closest("[data-entry-form]") && document.activeElement;
    for (const form of old.querySelectorAll("[data-entry-form]")) {
      entryOf(fresh, form.dataset.entryForm)?.append(form);
    }
    replace(old, fresh);
    if (writing?.isConnected) writing.focus({ preventScroll: true });
    const news = [...fresh.querySelectorAll("[data-entry]")].filter((e) => !known.has(e.dataset.entry));
    const said = el.querySelector('[data-part="said"]');
    if (said && news.length > 0) said.textContent = news.at(-1).querySelector(".Timeline-text")?.textContent.replace(/\s+/g, " ").trim() ?? "";
  };
  const draw = () => {
    waiting ??= new Promise((done, failed) => {
      timer = setTimeout(() => {
        waiting = undefined;
        fetchIt().then(done, (err) => {
          last = performance.now() + AGAIN - PAUSE;
          failed(err);
        });
      }, Math.max(0, last + PAUSE - performance.now()));
    });
    return waiting;
  };
  const click = async (e) => {
    const link = e.target.closest("a[data-entry-edit]");
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    const entry = link.closest("[data-entry]");
    const open = entry.querySelector("[data-entry-form]");
    if (open) return open.remove();
    try {
      const form = await fragment(link.href);
      const now = entryOf(el, entry.dataset.entry); // it may have been drawn anew meanwhile
      if (!form || !now || now.querySelector("[data-entry-form]")) return; // pressed twice
      localise(form);
      mountAll(form);
      now.append(form);
      const focus = document.activeElement;
      if (focus === document.body || now.contains(focus)) form.querySelector("textarea")?.focus(); // else somebody went on
    } catch {
      toast("The entry could not be opened for editing. Try once more.", "warn");
    }
  };
  // A saved form has done its work.
  const sent = (e) => e.target.closest?.("[data-entry-form]")?.remove();
  el.addEventListener("click", click);
  el.addEventListener("form:sent", sent);
  return {
    draw,
    close: () => {
      clearTimeout(timer);
      el.removeEventListener("click", click);
      el.removeEventListener("form:sent", sent);
    },
  };
}
