import { mountAll, unmountAll } from "./mount.js";
import { toast } from "./toast.js";
import { number } from "./chart_format.js";
import { bind, isTyping } from "./keys.js";
import { goOn, handsOff } from "./press.js";
import { liveCells } from "./explore_cells.js";
import { liveClauses } from "./explore_clauses.js";
import { searchOf, withFilter, withSelection, withTab, withWindow, withoutSelection } from "./explore_url.js";

/**
 * The Explore page: runs the query without loading the page again, makes the
 * clauses chips that complete, and the charts and cells ways to ask on.
 */
export function mount(el) {
  const form = el.querySelector("#explore-form");
  const off = new AbortController();
  const on = (target, name, fn) => target.addEventListener(name, fn, { signal: off.signal });
  const current = () => searchOf(new FormData(form));
  const go = (search) => run(`/explore?${search}`);

  form.dataset.live = "";
  on(form, "submit", (e) => {
    e.preventDefault();
    if (running) running.abort();
    else go(current());
  });
  on(el, "click", (e) => {
    const link = e.target.closest("a[data-run]");
    if (!link || e.button !== 0 || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    run(link.href);
  });
  on(document, "keydown", (e) => {
    if (e.key === "Enter" && e.shiftKey && !e.ctrlKey && !e.metaKey && (form.contains(e.target) || !isTyping(e))) {
      e.preventDefault();
      form.requestSubmit();
    }
    if (e.key === "Escape" && running && !document.querySelector("dialog[open]")) running.abort();
  });
  const unbind = bind("explore", [
    { key: "Shift Enter", does: "run the query; Esc stops it", listed: true },
    { key: "Enter", does: "in a clause: take the choice, or run", listed: true },
    { key: "Backspace", does: "in an empty clause: edit the one before", listed: true },
  ]);
  on(document, "view:go", async (e) => {
    const { href } = e.detail;
    if (!href.startsWith("/explore?") && href !== "/explore") return;
    e.preventDefault();
    if (await load(href)) history.replaceState(null, "", href);
  });
  const shown = { from: Number(form.dataset.from), to: Number(form.dataset.to) };
  on(el, "chart:select", (e) => offer(e.target, e.detail, current, shown, go));
  on(el, "submit", (e) => { // the form that adds a column of the raw rows
    if (!e.target.matches(".Raw-columns")) return;
    e.preventDefault();
    go(searchOf(new FormData(e.target)));
  });

  const undoClauses = liveClauses(form, () => form.requestSubmit());
  const undoCells = liveCells(el, current, go);
  share(el, on);
  if (el.querySelector('[data-part="results"]')) lightRows(el, on);

  return () => {
    off.abort();
    unbind();
    undoClauses();
    undoCells();
    delete form.dataset.live;
  };
}

/** The request under way; there is one at a time. @type {AbortController | null} */
let running = null;
let idle = null; // what the button says while there is none

addEventListener("popstate", () => {
  if (location.pathname === "/explore" && document.getElementById("explore")) load(location.href);
});

async function run(href) {
  if (await load(href)) history.pushState(null, "", href);
}

// Loads an address and puts its content in place of this one's. What was there
// stays if that does not work. What somebody writes meanwhile goes along.
async function load(href) {
  running?.abort();
  const request = new AbortController();
  running = request;
  goOn(document.getElementById("explore"), false);
  const before = fieldsOf(document.getElementById("explore-form"));
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
  const progress = show(request, id);
  try {
    const answer = await fetch(href, { signal: request.signal, headers: { Accept: "text/html", "X-Redthread-Progress": id } });
    if (answer.redirected || ![200, 400].includes(answer.status)) {
      if (answer.redirected) location.assign(href);
      else toast(`The query did not run (${answer.status}). Nothing you typed is lost; try again, or a shorter time range.`, "warn");
      return false;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    await handsOff(document.getElementById("explore"), request.signal, false);
    swap(page, "#explore", written(before));
    swap(page, ".TopBar-scope");
    return true;
  } catch (err) {
    if (running !== request) return false; // another was asked for
    if (request.signal.aborted) toast("Stopped. The answer shown is the one before.");
    else toast("The server cannot be reached. Nothing you typed is lost.", "warn");
    return false;
  } finally {
    progress();
    if (running === request) running = null;
  }
}

const fieldsOf = (form) => new Map([...form.elements].filter((f) => f.name && f.type !== "hidden").map((f) => [f, f.value]));

// What was written into the query since the fields had the values before.
function written(before) {
  return [...fieldsOf(document.getElementById("explore-form"))].filter(([f, value]) => value !== (before.get(f) ?? "")).map(([f, value]) => ({
    name: f.name, was: before.get(f) ?? "", value, caret: f === document.activeElement && f.matches("input") ? [f.selectionStart, f.selectionEnd] : null,
  }));
}

// Writes it into another form of the query, where its field stands there.
function writeIn(form, changes) {
  const left = new Set(fieldsOf(form).keys());
  for (const { name, was, value, caret } of changes) {
    const same = [...left].filter((f) => f.name === name);
    const field = same.find((f) => f.value === was) ?? same.find((f) => f.value === "");
    if (!field) continue;
    left.delete(field);
    field.value = value;
    field.closest("details")?.setAttribute("open", "");
    if (!caret) continue;
    field.closest("[data-clauses] [data-clause]")?.classList.add("is-open");
    field.focus({ preventScroll: true });
    field.setSelectionRange(...caret);
  }
}

function swap(page, selector, changes = []) {
  const before = document.querySelector(selector);
  const after = page.querySelector(selector);
  if (!before || !after) return;
  const focused = before.contains(document.activeElement) ? document.activeElement.id : "";
  unmountAll(before);
  before.replaceWith(after);
  if (changes.length > 0) writeIn(after.querySelector("#explore-form"), changes);
  mountAll(after);
  if (focused && !changes.some((c) => c.caret)) document.getElementById(focused)?.focus({ preventScroll: true });
}

// While a query runs its button stops it and counts the seconds; a bar shows the
// rows read of those to read.
function show(request, id) {
  const button = document.getElementById("explore-run");
  const answer = document.getElementById("explore-answer");
  const status = document.querySelector('#explore-form [data-part="status"]');
  idle ??= [...button.childNodes];
  const begin = performance.now();
  const bar = progressBar();
  answer?.setAttribute("aria-busy", "true");
  let asking = false;
  const ask = async () => {
    if (asking) return;
    asking = true;
    try {
      const reply = await fetch(`/explore/progress/${id}`, { signal: request.signal, headers: { Accept: "application/json" } });
      if (reply.ok && running === request) bar.tell(answer, await reply.json());
    } catch {
      // The page's own request tells what is wrong.
    }
    asking = false;
  };
  const slow = setInterval(() => {
    ask();
    button.textContent = `Stop · ${((performance.now() - begin) / 1000).toFixed(1)} s`;
    if (status) status.textContent = "The query is running.";
  }, 300);
  return () => {
    clearInterval(slow);
    bar.element.remove();
    if (running !== request) return;
    button.replaceChildren(...idle);
    idle = null;
    answer?.removeAttribute("aria-busy");
  };
}

function progressBar() {
  const element = document.createElement("p");
  element.className = "Answer-progress";
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", "Rows read");
  const text = document.createElement("span");
  element.append(bar, text);
  return {
    element,
    tell(answer, p) {
      if (!p.rows_total) return;
      bar.max = p.rows_total;
      bar.value = Math.min(p.rows_scanned, p.rows_total);
      text.textContent = `${number(p.rows_scanned)} of ${number(p.rows_total)} rows read`;
      if (!element.isConnected) answer?.before(element);
    },
  };
}

// What can be done with a selection on a chart.
function offer(figure, s, current, shown, go) {
  for (const other of document.querySelectorAll(".Chart")) {
    if (other !== figure) clearSelection(other);
  }
  const title = figure.querySelector(".Chart-title");
  let actions = title.querySelector(".Chart-actions");
  if (!actions) {
    actions = document.createElement("span");
    actions.className = "Chart-actions";
    actions.dataset.part = "actions";
    title.append(actions);
  }
  const values = (q) => (s.column === undefined ? q : withFilter(withFilter(q, s.column, ">=", s.min), s.column, "<", s.max));
  const rest = () => withoutSelection(current());
  const choices = [
    ["BubbleUp", "Button Button--small Button--primary", () => go(withSelection(current(), s, shown))],
    ["Zoom", "Button Button--small", () => go(withWindow(rest(), s.from, s.to))],
    ["Traces in selection", "Button Button--small", () => go(withTab(values(withWindow(rest(), s.from, s.to)), "traces"))],
  ];
  if (s.column !== undefined) choices.push(["Keep these values", "Button Button--small", () => go(values(rest()))]);
  choices.push(["×", "Button Button--small Button--quiet", () => clearSelection(figure)]);
  actions.replaceChildren(...choices.map(([text, name, act]) => {
    const b = document.createElement("button");
    b.type = "button";
    b.className = name;
    b.textContent = text;
    if (text === "×") b.setAttribute("aria-label", "Drop the selection");
    b.addEventListener("click", act);
    return b;
  }));
}

function clearSelection(figure) {
  figure.querySelector(".Chart-actions")?.replaceChildren();
  figure.dispatchEvent(new CustomEvent("chart:clear"));
}

function share(el, on) {
  const button = el.querySelector('[data-part="share"]');
  button.hidden = false;
  on(button, "click", async () => {
    try {
      await navigator.clipboard.writeText(new URL(button.dataset.url, location.href).href);
      toast("The link to this view is copied, its time range fixed.");
    } catch {
      toast("The browser did not allow copying. The address bar has a link.", "warn");
    }
  });
}

// Pointing at a row, or moving the focus into it, lights its lines.
function lightRows(el, on) {
  const rows = el.querySelector('[data-part="results"] tbody');
  let lit = null;
  const light = (row) => {
    if (row === lit) return;
    lit?.classList.remove("is-lit");
    lit = row;
    lit?.classList.add("is-lit");
    document.dispatchEvent(new CustomEvent("chart:light", { detail: { key: row ? row.dataset.key : null } }));
  };
  const rowOf = (e) => e.target.closest("tr[data-key]:not([data-key=''])");
  on(rows, "pointerover", (e) => light(rowOf(e)));
  on(rows, "focusin", (e) => light(rowOf(e)));
  on(rows, "pointerleave", () => light(null));
  on(rows, "focusout", () => light(null));
}
