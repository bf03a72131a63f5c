// "Pin to…": sends the form without leaving the page, and opens on "p".
import { toast } from "./toast.js";
import { bind } from "./keys.js";
import { newRef } from "./ref.js";

/** @param {HTMLDetailsElement} el */
export function mount(el) {
  const form = el.querySelector("form");
  const title = form.elements.namedItem("title");
  const titleField = title.closest(".Field");

  const showTitle = () => {
    const chosen = form.querySelector('[name="investigation"]:checked');
    titleField.hidden = Boolean(chosen?.value);
  };
  const open = () => {
    if (el.open && !form.contains(document.activeElement)) form.querySelector('[name="investigation"]:checked')?.focus();
  };
  const submit = async (e) => {
    e.preventDefault();
    const button = form.querySelector('[type="submit"]');
    const text = form.elements.namedItem("text");
    const sent = text.value;
    button.disabled = true;
    try {
      const res = await fetch(form.action, {
        method: "POST",
        headers: { Accept: "application/json" },
        body: new URLSearchParams(new FormData(form)),
      });
      const body = await res.json();
      if (!res.ok) throw new Error(body.error?.message ?? `The server answered ${res.status}.`);
      const focus = document.activeElement;
      const here = focus === document.body || el.contains(focus); // else somebody went on
      el.open = false;
      form.elements.namedItem("ref").value = newRef();
      if (text.value === sent) text.value = "";
      toastLink(`Pinned to “${body.title}”.`, body.path);
      if (here) el.querySelector("summary").focus();
    } catch (err) {
      toast(`Not pinned: ${err.message} What you typed is kept.`, "warn");
    } finally {
      button.disabled = false;
    }
  };
  // The last form of the page is the most particular: a span's, not its trace's.
  const unbind = bind("pin", [{ key: "p", waits: true, does: "pin this to an investigation", action: "Pin to an investigation", when: () => [...document.querySelectorAll(".Pin")].at(-1) === el, run: () => { el.open = true; } }]);

  showTitle();
  form.addEventListener("change", showTitle);
  form.addEventListener("submit", submit);
  el.addEventListener("toggle", open);
  return () => {
    form.removeEventListener("change", showTitle);
    form.removeEventListener("submit", submit);
    el.removeEventListener("toggle", open);
    unbind();
  };
}

function toastLink(text, path) {
  toast(text);
  const last = document.getElementById("toasts")?.lastElementChild;
  if (!last) return;
  const a = document.createElement("a");
  a.href = path;
  a.textContent = "Open the board";
  a.className = "Toast-link";
  last.append(" ", a);
}
