/** What can be typed next in an input of the query. Without the DOM. */
import { WORD_OPS, cutColumn, cutOperator, formatCalculation, formatValue, parseCalculated, parseCalculation, quoteColumn } from "./explore_text.js";

/**
 * @typedef {{name: string, types: string[], rows: number, distinct: number, top: {value: unknown, rows: number}[], note?: string}} Column
 * @typedef {{columns: Column[], operators: string[], calculations: string[], groups: string[], functions: string[]}} Known
 * @typedef {{text: string, label: string, note: string, done: boolean}} Choice
 *   text replaces the whole input; done: the clause is complete with it
 */

const MAX_CHOICES = 50;
const FIRST = 5; // columns before the scopes, while nothing is typed
const COMPARE_OPS = ["=", "!=", ">", ">=", "<", "<=", ...[...WORD_OPS].reverse()];

/**
 * The choices for an input with the parameter param that holds text.
 * @param {string} param
 * @param {string} text
 * @param {Known} known
 * @returns {Choice[]}
 */
export function choices(param, text, known) {
  const list = byParam[param]?.(text, known) ?? [];
  return list.filter((c) => c.text !== text).slice(0, MAX_CHOICES);
}

// Scopes say which other span a column is of; the second list stands in filters only.
const SCOPES = { "root.": "of the trace's root", "parent.": "of the parent", "cause.": "of what caused it", "origin.": "of where the thread began", "ripple.": "of the thread that the row began" };
const FILTER_SCOPES = { "any.": "of some span of the trace", "none.": "of no span of the trace", "child.": "of some child" };
// The measures of a thread, as the API's list of columns has them.
const RIPPLE = {
  traces: "traces of the thread, its own among them",
  spans: "spans of these traces",
  messages: "messages that were sent",
  jobs: "runs of jobs",
  requests: "requests that services answered, the first one aside",
  errors: "spans that failed",
  busy_ms: "how long its traces took from start to end, added up",
  last_effect_ms: "from its begin to the end of its last effect",
};

// The scope that a column's name begins with, or "". parent.trace_id is an attribute.
function scopeOf(name) {
  return name === "parent.trace_id" ? "" : /^(root|parent|cause|origin|ripple|any[23]?|none|child)\.(?=.|$)/.exec(name)?.[0] ?? "";
}

// The columns with the names they have behind a scope.
function scoped(list, scope) {
  if (scope === "") return list;
  if (scope === "ripple.") return Object.entries(RIPPLE).map(([m, note]) => ({ name: scope + m, types: [m.endsWith("_ms") ? "float" : "int"], rows: 0, distinct: 0, top: [], note }));
  return list.map((c) => ({ ...c, name: scope + c.name }));
}

const byParam = {
  v: calculations,
  w: filters,
  s: filters,
  g: (text, known) => columns(text, known, (c) => quoteColumn(c.name), true),
  c: (text, known) => columns(text, known, (c) => quoteColumn(c.name), true),
  o: orders,
  h: havings,
  f: expressions,
};

function calculations(text, known) {
  const bracket = text.search(/[( ]/);
  if (bracket < 0) {
    return ranked(known.operators, text).map((op) => (op === "COUNT"
      ? choice("COUNT", "COUNT", "rows", true)
      : choice(`${op}(`, op, note[op] ?? "of a column", false)));
  }
  const op = text.slice(0, bracket).toUpperCase();
  if (op === "COUNT") return [];
  const typed = text.slice(bracket + 1).replace(/\)$/, "");
  const numbersFirst = [...known.columns].sort((a, b) => Number(isNumeric(b)) - Number(isNumeric(a)));
  const wanted = op === "COUNT_DISTINCT" ? known.columns : numbersFirst;
  return columns(typed, { ...known, columns: wanted }, (c) => formatCalculation({ op, column: c.name }), true);
}

const note = { COUNT_DISTINCT: "different values", HEATMAP: "spread over time", P50: "median", AVG: "mean" };

function filters(text, known) {
  let column;
  let rest;
  try {
    ({ column, rest } = cutColumn(text, "=!<>~"));
  } catch {
    return [];
  }
  const afterColumn = rest !== "" || /\s$/.test(text);
  if (!afterColumn) return columns(text, known, (c) => `${quoteColumn(c.name)} `, false, { ...SCOPES, ...FILTER_SCOPES });
  const name = quoteColumn(column);
  const found = cutOperator(rest);
  const wordUnfinished = found && found.rest === "" && !/\s$/.test(text) && WORD_OPS.includes(found.op);
  if (!found || wordUnfinished) {
    return ranked(COMPARE_OPS, rest.replaceAll(" ", "-")).map((op) => {
      const bare = op === "exists" || op === "does-not-exist";
      return choice(bare ? `${name} ${op}` : `${name} ${op} `, op, "", bare);
    });
  }
  if (found.op === "exists" || found.op === "does-not-exist") return [];
  const info = scoped(known.columns, scopeOf(column)).find((c) => c.name === column);
  if (!info) return [];
  if (found.op === "in" || found.op === "not-in") return listed(name, found, info);
  const typed = found.rest.replace(/^"/, "").toLowerCase();
  return info.top
    .filter((t) => String(plain(t.value)).toLowerCase().includes(typed))
    .map((t) => choice(`${name} ${found.op} ${formatValue(plain(t.value))}`, String(plain(t.value)), rows(t.rows), true));
}

// The values of an in ( … ): the part behind the last comma is being typed.
function listed(name, found, info) {
  const inner = found.rest.replace(/^\(/, "").replace(/\)$/, "");
  const cut = inner.lastIndexOf(",");
  const before = cut < 0 ? "" : `${inner.slice(0, cut).trim()}, `;
  const typed = inner.slice(cut + 1).trim().replace(/^"/, "").toLowerCase();
  return info.top
    .filter((t) => String(plain(t.value)).toLowerCase().includes(typed))
    .map((t) => choice(`${name} ${found.op} (${before}${formatValue(plain(t.value), ",)")})`, String(plain(t.value)), rows(t.rows), true));
}

function orders(text, known) {
  const keys = [...known.calculations.filter((c) => !c.startsWith("HEATMAP")), ...known.groups];
  return ranked(keys.flatMap((k) => [`${k} desc`, `${k} asc`]), text).map((o) => choice(o, o, "", true));
}

function havings(text, known) {
  const keys = known.calculations.filter((c) => !c.startsWith("HEATMAP"));
  return ranked(keys.map((k) => `${k} > `), text).map((h) => choice(h, h.trim(), "a number", false));
}

// What comes next in "name = expression": behind a $ a column, else a function.
function expressions(text, known) {
  const begin = /^\s*("(?:[^"\\]|\\.)*"|[^=\s]+)\s*=/.exec(text)?.[0];
  if (begin === undefined) return [];
  const word = /\$"?([^"$,()]*)$/.exec(text);
  if (word && word.index >= begin.length) {
    const before = text.slice(0, word.index);
    return columns(word[1], known, (c) => before + reference(c.name), false, {});
  }
  const typed = /[A-Za-z_]*$/.exec(text)[0];
  const before = text.slice(0, text.length - typed.length);
  if (!/[=(,\s]$/.test(before)) return [];
  const list = ranked(known.functions, typed).map((name) => choice(`${before}${name}(`, name, "function", false));
  return typed === "" ? [choice(`${before}$`, "$", "a column", false), ...list] : list;
}

// A column as an expression names it (inColumn in tracestore/query/calc_lex.go).
function reference(name) {
  return /^[\p{L}\p{Nd}_./:=+?-]+$/u.test(name) ? `$${name}` : `$${JSON.stringify(name)}`;
}

/** The calculated fields among texts as columns. @param {string[]} texts @returns {Column[]} */
export function calculatedColumns(texts) {
  return texts.flatMap((t) => {
    try {
      return [{ name: parseCalculated(t).name, types: ["int", "float", "string", "bool"], rows: 0, distinct: 0, top: [], note: "calculated" }];
    } catch {
      return [];
    }
  });
}

function columns(typed, known, text, done, scopes = SCOPES) {
  const name = typed.replace(/^"/, "");
  const scope = scopeOf(name);
  const byName = new Map(scoped(known.columns, scope).map((c) => [c.name, c]));
  const list = ranked([...byName.keys()], name).map((n) => {
    const c = byName.get(n);
    return choice(text(c), n, describe(c), done);
  });
  if (scope !== "") return list;
  const begun = Object.keys(scopes).filter((s) => s.startsWith(name.toLowerCase()));
  const open = text({ name: "\0" }); // what stands before the name
  const ways = begun.map((s) => choice(open.slice(0, open.indexOf("\0")).replace(/"$/, "") + s, s, scopes[s], false));
  if (name !== "") return [...ways, ...list];
  return [...list.slice(0, FIRST), ...ways, ...list.slice(FIRST)]; // seen, though nothing of them was typed
}

/** What a column holds, in a few words. @param {Column} c */
export function describe(c) {
  if (c.note) return c.note;
  const top = c.top.slice(0, 3).map((t) => String(plain(t.value))).filter((s) => s.length < 24).join(", ");
  return [c.types.join(" or "), c.distinct > 1 ? `${c.distinct.toLocaleString("en-US")} values` : "", top].filter(Boolean).join(" · ");
}

function choice(text, label, words, done) {
  return { text, label, note: words, done };
}

function rows(n) {
  return `${n.toLocaleString("en-US")} ${n === 1 ? "row" : "rows"}`;
}

// A value of the API that JSON cannot hold comes as an object; its text is used.
function plain(v) {
  if (v !== null && typeof v === "object") return v.int ?? v.float ?? v.bytes ?? JSON.stringify(v);
  return v;
}

function isNumeric(c) {
  return c.types.includes("int") || c.types.includes("float");
}

// Names that contain the text, those that begin with it first.
function ranked(names, text) {
  const typed = text.trim().toLowerCase();
  if (typed === "") return names;
  const begin = [];
  const inside = [];
  for (const n of names) {
    const at = n.toLowerCase().indexOf(typed);
    if (at === 0) begin.push(n);
    else if (at > 0) inside.push(n);
  }
  return [...begin, ...inside];
}

/** The calculations among texts, in their canonical form. @param {string[]} texts */
export function canonical(texts) {
  return texts.flatMap((t) => {
    try {
      return [formatCalculation(parseCalculation(t.trim()))];
    } catch {
      return [];
    }
  });
}
