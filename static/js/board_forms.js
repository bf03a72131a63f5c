// The forms of an investigation's page are sent without leaving it. Those that
// cannot be sent wait and go again by themselves; their ref makes a second arrival
// harmless.
import { showConflict } from "./board_conflict.js";
import { forget } from "./board_drafts.js";
import { formKey, touched } from "./board_swap.js";
import { asUTC, sendUTC } from "./local_fields.js";
import { newRef } from "./ref.js";

/**
 * Takes over the forms in el.
 * @param {HTMLElement} el
 * @returns {{resend: () => void, close: () => void}} resend sends what waits
 */
export function takeForms(el) {
  const outbox = new Map();
  const submit = (e) => {
    const form = e.target;
    if (!form.matches("form[data-form]") || e.defaultPrevented) return;
    e.preventDefault();
    if (form.dataset.form === "delete" && !form.dataset.sure) {
      form.dataset.sure = "1";
      const button = form.querySelector("button");
      button.textContent = "Really delete?";
      return;
    }
    send(form, e.submitter);
  };
  const send = async (form, submitter) => {
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    outbox.delete(form);
    say(form, "");
    const was = valuesOf(form);
    // What there is to tell is told where the form stands by then.
    const now = () => (form.isConnected ? form : (drawnAnew(form) ?? form));
    const again = () => {
      const f = now();
      outbox.set(f, f === form || !submitter ? submitter : [...f.elements].find((b) => b.type === "submit" && b.name === submitter.name && b.value === submitter.value));
    };
    try {
      let res;
      try {
        res = await fetch(form.action, {
          method: "POST",
          headers: { Accept: "application/json" },
          body: bodyOf(form, submitter),
          signal: AbortSignal.timeout(form.enctype === "multipart/form-data" ? 120_000 : 15_000),
        });
      } catch {
        again();
        say(now(), "Not sent yet: the server cannot be reached. It is kept here and goes out by itself.");
        return;
      }
      const body = await res.json().catch(() => ({}));
      if (res.ok) return sent(form, body, was);
      if (res.status === 409 && body.error?.code === "conflict" && body.error.field !== "ref") return showConflict(now(), body, saidIn(now()));
      if (res.status >= 500) again();
      say(now(), `${body.error?.message ?? `The server answered ${res.status}.`} What you typed is kept.`);
    } finally {
      delete form.dataset.busy;
    }
  };
  const drawnAnew = (form) => [...el.querySelectorAll("form[data-form]")].find((f) => formKey(f) === formKey(form));
  const sent = (form, body, was) => {
    forget(form);
    if (form.dataset.form === "delete-all") return location.assign(body.path);
    // A form that waited for the connection may have been drawn anew since.
    for (const f of new Set([form, drawnAnew(form) ?? form])) {
      say(f, "");
      const ref = f.elements.namedItem("ref");
      const seen = f.elements.namedItem("seen");
      if (ref) ref.value = newRef();
      if (seen && body.offset) seen.value = String(body.offset);
      const details = f.closest("details");
      // What was typed on while it was on its way is the next one's.
      const more = [...valuesOf(f)].some(([name, value]) => was.get(name) !== value);
      if (!["note", "add", "annotate"].includes(f.dataset.form)) settle(f, was);
      else if (!more) {
        f.reset();
        f.dispatchEvent(new Event("reset:done", { bubbles: true }));
      }
      if (more) continue;
      f.dispatchEvent(new Event("form:sent", { bubbles: true }));
      if (f.dataset.form === "offer") f.remove();
      else if (details && f.dataset.form !== "annotate") details.open = false;
    }
  };
  el.addEventListener("submit", submit);
  return {
    resend: () => {
      for (const [form, submitter] of [...outbox]) send(form, submitter);
    },
    close: () => el.removeEventListener("submit", submit),
  };
}

/** A picture goes as it is, everything else as a plain form. An edit sends what was touched: the rest may be old. */
function bodyOf(form, submitter) {
  const data = new FormData(form, submitter?.name ? submitter : undefined);
  if (form.dataset.form === "block") for (const f of form.elements) if (f.name && f.type !== "hidden" && !touched(f)) data.delete(f.name);
  sendUTC(form, data);
  return form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
}

/** What people wrote in a form, by name. */
const valuesOf = (form) => new Map([...form.elements].filter((f) => f.name && !/^(hidden|checkbox|radio)$/.test(f.type) && "defaultValue" in f).flatMap((f) => [[f.name, f.value], [`was_${f.name}`, asUTC(f)]]));

/** After a save: what was sent is how the form was drawn. */
function settle(form, sent) {
  for (const f of form.elements) {
    if (f instanceof HTMLSelectElement) for (const o of f.options) o.defaultSelected = o.selected;
    else if ("defaultValue" in f && !f.name.startsWith("was_")) f.defaultValue = sent.get(f.name) ?? f.value;
    const was = form.elements.namedItem(`was_${f.name}`);
    if (was) was.value = sent.get(was.name) ?? asUTC(f);
  }
}

/** Tells beside a form what became of it. */
function say(form, text) {
  if (!text) return form.querySelector(".Form-said")?.remove();
  saidIn(form).replaceChildren(text);
}

/** The place beside a form where that is told. */
function saidIn(form) {
  let el = form.querySelector(".Form-said");
  if (!el) {
    el = document.createElement("div");
    el.className = "Form-said";
    el.setAttribute("role", "alert");
    form.append(el);
  }
  return el;
}
