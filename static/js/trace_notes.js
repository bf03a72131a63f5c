// The annotations on a trace and its spans: sent without leaving the page, and
// drawn anew when somebody writes, when one may see others than before, and when
// one comes back to the page. What was typed stays.
import { toast } from "./toast.js";
import { forget, keep, restoreDrafts } from "./board_drafts.js";
import { fragment, replace } from "./board_swap.js";
import { listen } from "./live.js";
import { newRef } from "./ref.js";

const settle = 150; // ms, and up to twice that: several changes at once are drawn once, and not by all at once

const written = (form) => [...form.elements].filter((f) => f.name && f.type !== "hidden" && "value" in f).map((f) => f.value).join("\0");

/**
 * @param {HTMLElement} el the page of a trace
 * @returns {{write: (panel: HTMLElement) => void, restore: (panel: HTMLElement) => void, close: () => void}} restore puts kept drafts into a panel drawn anew
 */
export function takeNotes(el) {
  const stop = new AbortController();
  let asked = 0;
  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => redraw().catch(() => {}), settle * (1 + Math.random()));
  };
  const redraw = async () => {
    const here = location.href;
    const mine = ++asked;
    // What is sent is drawn with its answer, and who went on to another span sees that.
    const late = () => here !== location.href || el.querySelector("[data-annotations] form[data-busy]") !== null;
    for (const { id } of el.querySelectorAll("[data-annotations]")) {
      const fresh = await fragment(here, `#${id}`);
      if (mine !== asked || stop.signal.aborted) return; // somebody draws what is newer
      if (late()) return soon();
      const old = el.querySelector(`#${id}`);
      if (fresh && old) replace(old, fresh);
    }
    const answer = await fetch(`/api/v1/annotations?trace_id=${el.dataset.trace}`, { headers: { Accept: "application/json" } });
    if (!answer.ok || mine !== asked) return;
    const counts = new Map();
    for (const { anchor } of (await answer.json()).annotations) counts.set(anchor.span_id, (counts.get(anchor.span_id) ?? 0) + 1);
    if (mine === asked) el.querySelector("#waterfall")?.dispatchEvent(new CustomEvent("trace:remarks", { detail: counts }));
  };
  el.addEventListener("submit", async (e) => {
    const form = e.target;
    const notes = form.closest("[data-annotations]");
    if (!notes || !form.matches("form[data-form]")) return;
    e.preventDefault();
    if (form.dataset.busy) return;
    if (form.dataset.form === "delete" && !form.dataset.sure) {
      form.dataset.sure = "1";
      form.querySelector("button").textContent = "Really delete?";
      return;
    }
    form.dataset.busy = "1";
    const was = written(form);
    try {
      const body = new URLSearchParams(new FormData(form, e.submitter?.name ? e.submitter : undefined));
      const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, body });
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error?.message ?? `The server answered ${answer.status}.`);
      delete form.dataset.busy;
      if (written(form) !== was) { // what was written on meanwhile is the next
        const ref = form.elements.namedItem("ref");
        if (ref) ref.value = newRef();
        keep(form);
        return await redraw();
      }
      forget(form);
      form.reset();
      if (form.dataset.form === "annotation") for (const f of form.elements) if ("defaultValue" in f) f.value = f.defaultValue;
      form.closest("details")?.removeAttribute("open");
      notes.closest("details")?.setAttribute("open", "");
      await redraw();
    } catch (err) {
      toast(`Not saved: ${err.message} What you typed is kept.`, "warn");
    } finally {
      delete form.dataset.busy;
    }
  }, { signal: stop.signal });
  el.addEventListener("input", (e) => {
    const form = e.target.closest("[data-annotations] form[data-draft]");
    if (form) keep(form);
  }, { signal: stop.signal });
  restoreDrafts(el);
  let lost = false;
  const unlisten = listen({
    message(m) {
      // Access that is given or taken away is told as a change of the inbox.
      if (m.type !== "annotations.changed" && m.type !== "inbox.changed") return;
      soon();
    },
    state(up) {
      if (up && lost) soon(); // what was said meanwhile was not heard
      lost = !up;
    },
  });
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") redraw().catch(() => {}); // the next time will do
  }, { signal: stop.signal });
  return {
    write: (panel) => {
      const box = panel.querySelector('[data-part="annotate-text"]') ?? el.querySelector('[data-part="trace-notes"] [data-part="annotate-text"]');
      if (!box) return;
      box.closest("details")?.setAttribute("open", "");
      box.focus();
      box.scrollIntoView({ block: "nearest" });
    },
    restore: restoreDrafts,
    close: () => {
      stop.abort();
      clearTimeout(timer);
      unlisten();
    },
  };
}
