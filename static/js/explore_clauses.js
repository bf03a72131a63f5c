import { TextError, formatFilterValue, parseCalculated, parseCalculation, parseColumn, parseFilter, parseHaving, parseOrder } from "./explore_text.js";
import { calculatedColumns, canonical, choices } from "./explore_complete.js";

const parsers = { v: parseCalculation, w: parseFilter, s: parseFilter, g: parseColumn, o: parseOrder, h: parseHaving, f: parseCalculated };

/**
 * Makes the inputs of a query chips: a chip shows its clause, a click edits it,
 * × takes it away, and while typing the columns and values there are complete it.
 * @param {HTMLFormElement} form
 * @param {() => void} run runs the query
 * @returns {() => void}
 */
export function liveClauses(form, run) {
  const off = new AbortController();
  const known = loader(form);
  const completion = new Completion(form, known);
  for (const group of form.querySelectorAll("[data-clauses]")) {
    for (const clause of group.querySelectorAll("[data-clause]")) live(clause, group.dataset.clauses);
  }

  const enter = (input) => {
    const clause = clauseOf(input);
    if (!clause || !input.matches("input")) return;
    known.load();
    clause.classList.add("is-open");
    input.placeholder = clause.dataset.placeholder ?? input.placeholder;
    completion.open(input, clause);
  };
  for (const clause of form.querySelectorAll("[data-clause].is-open")) enter(clause.querySelector("input"));
  form.addEventListener("focusin", (e) => enter(e.target), { signal: off.signal });
  form.addEventListener("focusout", (e) => {
    const clause = clauseOf(e.target);
    if (!clause || !e.target.matches("input")) return;
    completion.close();
    settle(clause);
  }, { signal: off.signal });
  form.addEventListener("input", (e) => {
    const clause = clauseOf(e.target);
    if (!clause) return;
    unmark(clause);
    completion.open(e.target, clause);
  }, { signal: off.signal });
  form.addEventListener("keydown", (e) => {
    const clause = clauseOf(e.target);
    if (!clause || !e.target.matches("input") || e.isComposing) return;
    if (completion.key(e)) return;
    if (e.key === "Enter" && !e.shiftKey) {
      e.preventDefault();
      if (check(clause)) run();
    } else if (e.key === "Escape") {
      e.target.value = clause.dataset.before ?? "";
      e.target.blur();
    } else if (e.key === "Backspace" && e.target.value === "") {
      const before = clause.previousElementSibling;
      if (before?.matches("[data-clause]")) {
        e.preventDefault();
        edit(before);
      }
    }
  }, { signal: off.signal });
  form.addEventListener("click", (e) => {
    const clause = clauseOf(e.target);
    if (!clause) return;
    if (e.target.closest(".Clause-remove")) {
      clause.remove();
      run();
    } else if (e.target.closest(".Clause-text")) edit(clause);
  }, { signal: off.signal });
  return () => {
    off.abort();
    completion.close();
  };
}

function clauseOf(target) {
  return target instanceof Element ? target.closest("[data-clauses] [data-clause]") : null;
}

function live(clause, param) {
  const input = clause.querySelector("input");
  clause.dataset.param = param;
  clause.dataset.before = input.defaultValue;
  clause.dataset.placeholder = input.placeholder;
  input.removeAttribute("list");
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  if (!clause.classList.contains("is-open")) settle(clause); // else somebody writes in it
}

// Shows a finished clause as text, and keeps one open that cannot be read.
function settle(clause) {
  const input = clause.querySelector("input");
  clause.classList.remove("is-open", "is-text");
  clause.querySelector(".Clause-text")?.remove();
  clause.querySelector(".Clause-remove")?.remove();
  const text = input.value.trim();
  clause.classList.toggle("Clause--new", text === "");
  if (text === "") {
    input.placeholder = "+";
    return;
  }
  if (clause.nextElementSibling === null) addEmpty(clause);
  clause.append(removeButton(text));
  if (clause.classList.contains("Clause--invalid")) return;
  try {
    const pieces = show(clause.dataset.param, text);
    const b = document.createElement("button");
    b.type = "button";
    b.className = "Clause-text";
    b.append(...pieces.flatMap((piece, i) => (i === 0 ? [piece] : [" ", piece])));
    b.setAttribute("aria-label", `Edit ${b.textContent}`); // the words as they are seen
    clause.prepend(b);
    clause.classList.add("is-text");
  } catch (err) {
    mark(clause, err);
  }
}

function addEmpty(clause) {
  const next = clause.cloneNode(true);
  const input = next.querySelector("input");
  const n = clause.parentElement.querySelectorAll("[data-clause]").length;
  input.value = "";
  input.id = `explore-${clause.dataset.param}${n}`;
  input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-label", input.getAttribute("aria-label").replace(/\d+$/, String(n + 1)));
  for (const e of next.querySelectorAll(":not(input)")) e.remove();
  next.dataset.before = "";
  next.className = "Clause Clause--new";
  clause.after(next);
  settle(next);
}

function removeButton(text) {
  const b = document.createElement("button");
  b.type = "button";
  b.className = "Clause-remove";
  b.textContent = "×";
  b.setAttribute("aria-label", `Take away ${text}`);
  return b;
}

// The pieces of a clause as they are shown: what is an operator is bold.
function show(param, text) {
  const plain = (t, name = "") => Object.assign(document.createElement("span"), { textContent: t, className: name });
  const bold = (t) => Object.assign(document.createElement("b"), { textContent: t });
  if (param === "v") {
    const c = parseCalculation(text);
    return c.column ? [bold(c.op), plain(c.column)] : [bold(c.op)];
  }
  if (param === "w" || param === "s") {
    const f = parseFilter(text);
    return [plain(f.column), bold(f.op), plain(formatFilterValue(f), "Clause-value")];
  }
  if (param === "f") {
    const f = parseCalculated(text);
    return [plain(f.name), bold("="), plain(f.expression, "Clause-value")];
  }
  if (param === "o") {
    const o = parseOrder(text);
    return [plain(o.op && o.column ? `${o.op}(${o.column})` : o.op ?? o.column), bold(o.order === "descending" ? "↓" : "↑")];
  }
  parsers[param]?.(text);
  return [plain(text)];
}

function edit(clause) {
  const input = clause.querySelector("input");
  clause.querySelector(".Clause-text")?.remove();
  clause.classList.remove("is-text");
  clause.dataset.before = input.value;
  input.focus();
  input.setSelectionRange(input.value.length, input.value.length);
}

// Reports whether the clause can be read, and says beside it if not.
function check(clause) {
  const text = clause.querySelector("input").value.trim();
  if (text === "") return true;
  try {
    parsers[clause.dataset.param]?.(text);
    return true;
  } catch (err) {
    mark(clause, err);
    return false;
  }
}

function mark(clause, err) {
  if (!(err instanceof TextError)) throw err;
  unmark(clause);
  const input = clause.querySelector("input");
  const say = document.createElement("span");
  say.className = "Clause-error";
  say.id = `${input.id}-error`;
  say.setAttribute("role", "alert");
  say.textContent = err.message;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", say.id);
  clause.classList.add("Clause--invalid");
  clause.append(say);
}

function unmark(clause) {
  const input = clause.querySelector("input");
  clause.classList.remove("Clause--invalid");
  clause.querySelector(".Clause-error")?.remove();
  input.removeAttribute("aria-invalid");
  input.removeAttribute("aria-describedby");
}

// The columns there are, asked for once when the first input is entered.
function loader(form) {
  const state = { columns: [], asked: false, then: () => {} };
  state.load = async () => {
    if (state.asked) return;
    state.asked = true;
    const environment = form.elements.environment?.value ?? "";
    try {
      const answer = await fetch(`/api/v1/columns?environment=${encodeURIComponent(environment)}`, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const body = await answer.json();
      state.columns = (Array.isArray(body) ? body : body.columns) ?? [];
      state.then();
    } catch {
      state.asked = false; // asked again at the next input; typing works without
    }
  };
  state.known = () => {
    const texts = (param) => [...form.querySelectorAll(`[data-clauses="${param}"] input`)].map((i) => i.value.trim()).filter(Boolean);
    const calculations = canonical(texts("v"));
    return {
      columns: [...calculatedColumns(texts("f")), ...state.columns], functions: form.dataset.functions.split(" "), operators: form.dataset.operators.split(" "),
      calculations: calculations.length ? calculations : ["COUNT"], groups: texts("g"),
    };
  };
  return state;
}

/** The list under an input, after the ARIA combobox pattern. */
class Completion {
  constructor(form, known) {
    this.known = known;
    this.list = null;
    known.then = () => {
      const input = document.activeElement;
      const clause = clauseOf(input);
      if (!clause || !form.contains(input) || !input.matches("input") || this.shut === input) return;
      const picked = this.list && this.at >= 0 ? this.choices[this.at].text : undefined;
      this.open(input, clause);
      const at = this.list ? this.choices.findIndex((c) => c.text === picked) : -1;
      if (at >= 0) this.move(at);
    };
  }

  open(input, clause) {
    this.close();
    this.shut = null;
    this.choices = choices(clause.dataset.param, input.value, this.known.known());
    if (this.choices.length === 0) return;
    this.input = input;
    this.at = -1;
    this.list = document.createElement("div");
    this.list.className = "Complete";
    this.list.id = `${input.id}-choices`;
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Choices");
    this.choices.forEach((c, i) => {
      const option = document.createElement("div");
      option.className = "Complete-option";
      option.id = `${this.list.id}-${i}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      const name = Object.assign(document.createElement("span"), { className: "Complete-name", textContent: c.label });
      const words = Object.assign(document.createElement("span"), { className: "Complete-note", textContent: c.note });
      option.append(name, words);
      option.addEventListener("pointerdown", (e) => {
        e.preventDefault(); // the input keeps the focus
        this.take(i);
      });
      this.list.append(option);
    });
    clause.append(this.list);
    input.setAttribute("aria-expanded", "true");
    input.setAttribute("aria-controls", this.list.id);
  }

  close() {
    if (!this.list) return;
    this.list.remove();
    this.list = null;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-controls");
    this.input.removeAttribute("aria-activedescendant");
  }

  /** Handles a key; true if it was meant for the list. */
  key(e) {
    if (!this.list) return false;
    const n = this.choices.length;
    if (e.key === "ArrowDown") this.move((this.at + 1) % n);
    else if (e.key === "ArrowUp") this.move((this.at - 1 + n) % n);
    else if ((e.key === "Enter" && !e.shiftKey || e.key === "Tab" && !e.shiftKey) && this.at >= 0) this.take(this.at);
    else if (e.key === "Escape") {
      this.shut = this.input; // more to choose from does not open it again
      this.close();
      e.preventDefault();
      e.stopPropagation();
      return true;
    } else return false;
    e.preventDefault();
    return true;
  }

  move(i) {
    const options = [...this.list.children];
    options[this.at]?.setAttribute("aria-selected", "false");
    this.at = i;
    options[i].setAttribute("aria-selected", "true");
    options[i].scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", options[i].id);
  }

  take(i) {
    const c = this.choices[i];
    const { input } = this;
    input.value = c.text;
    input.setSelectionRange(c.text.length, c.text.length);
    input.focus();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    if (!c.done) return;
    this.shut = input;
    this.close();
  }
}
