/**
 * The text form of a query's clauses, as handlers/explore_text.go has it: what
 * stands in the address of the Explore page and in its inputs. Parsing and
 * printing are inverse; both languages pass handlers/testdata/explore_text.json.
 */

/** @typedef {{column: string, op: string, value?: unknown}} Filter */
/** @typedef {{op: string, column?: string}} Calculation */

/** A clause that cannot be read; the message is shown to the person. */
export class TextError extends Error {}

/** Operators spelled as words, longest first; a space does as well as a dash. */
export const WORD_OPS = [
  "does-not-start-with", "does-not-end-with", "does-not-contain", "does-not-exist",
  "starts-with", "ends-with", "contains", "exists", "not-in", "in",
];

const SYMBOL_OPS = [
  ["!=", "!="], ["<>", "!="], [">=", ">="], ["<=", "<="], ["==", "="], ["!~", "does-not-contain"],
  ["=", "="], [">", ">"], ["<", "<"], ["~", "contains"],
];

/** Operators of VISUALIZE that take a column. */
export const CALCULATION_OPS = [
  "AVG", "COUNT_DISTINCT", "HEATMAP", "MAX", "MIN", "P001", "P01", "P05", "P10", "P20", "P25", "P50",
  "P75", "P80", "P90", "P95", "P99", "P999", "SUM", "RATE_AVG", "RATE_SUM", "RATE_MAX",
];

const BARE_CALCULATION_OPS = ["COUNT", "CONCURRENCY"];

const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;
const INTEGER = /^-?(0|[1-9][0-9]*)$/;

/**
 * Reads COUNT, P99(duration_ms) or "p99 duration_ms".
 * @param {string} text
 * @returns {Calculation}
 */
export function parseCalculation(text) {
  const cut = text.search(/[( \t]/);
  const op = (cut < 0 ? text : text.slice(0, cut)).toUpperCase();
  let rest = cut < 0 ? "" : text.slice(cut).trim();
  if (rest.startsWith("(")) {
    if (!rest.endsWith(")")) throw new TextError("The closing bracket is missing, as in P99(duration_ms).");
    rest = rest.slice(1, -1).trim();
  }
  if (BARE_CALCULATION_OPS.includes(op)) {
    if (rest !== "") throw new TextError(`${op} takes no column.`);
    return { op };
  }
  const cutOff = cutColumn(rest, "");
  const column = cutOff.rest === "" ? cutOff.column : rest;
  if (column === "") {
    throw new TextError(CALCULATION_OPS.includes(op)
      ? `Name the column, as in ${op}(duration_ms).`
      : "Write COUNT, or an operator and a column as in P99(duration_ms).");
  }
  return { op, column };
}

/** The inverse of parseCalculation. @param {Calculation} c */
export function formatCalculation(c) {
  return c.column ? `${c.op}(${quoteColumn(c.column)})` : c.op;
}

/**
 * Reads "column op value", "column exists" or "column in (a, b)".
 * @param {string} text
 * @returns {Filter}
 */
export function parseFilter(text) {
  const { column, rest } = cutColumn(text, "=!<>~");
  if (column === "") throw new TextError("Begin with a column, as in service.name = quotes-api.");
  refuseUnknownSign(rest);
  const found = cutOperator(rest);
  if (!found) throw new TextError(`Say how ${column} compares: ${column} = value, or ${column} exists.`);
  const { op } = found;
  if (op === "exists" || op === "does-not-exist") {
    if (found.rest !== "") throw new TextError(`${column} ${op} takes no value.`);
    return { column, op };
  }
  if (op === "in" || op === "not-in") return { column, op, value: parseList(found.rest) };
  if (found.rest === "") throw new TextError('The value is missing; write "" for the empty text.');
  const { value, rest: after } = cutValue(found.rest, "");
  if (after !== "") throw new TextError("Something follows the closing quote.");
  return { column, op, value };
}

/** The inverse of parseFilter. @param {Filter} f */
export function formatFilter(f) {
  const value = formatFilterValue(f);
  return `${quoteColumn(f.column)} ${f.op}${value === "" ? "" : ` ${value}`}`;
}

/** The text after the operator, empty if it takes none. @param {Filter} f */
export function formatFilterValue(f) {
  if (f.op === "exists" || f.op === "does-not-exist") return "";
  if (f.op === "in" || f.op === "not-in") {
    const list = Array.isArray(f.value) ? f.value : [f.value];
    return `(${list.map((v) => formatValue(v, ",)")).join(", ")})`;
  }
  return formatValue(f.value, "");
}

/**
 * Reads "COUNT desc", "P99(duration_ms)" or "service.name asc".
 * @param {string} text
 * @returns {{op?: string, column?: string, order: string}}
 */
export function parseOrder(text) {
  let s = text.trim();
  let order = "ascending";
  const direction = /^([^]*[ \t)"])(descending|desc|ascending|asc)$/i.exec(s);
  if (direction) {
    s = direction[1].trim();
    if (direction[2].toLowerCase().startsWith("desc")) order = "descending";
  }
  if (s === "") throw new TextError("Name a calculation or a column to order by, as in COUNT desc.");
  if (looksLikeCalculation(s)) return { ...parseCalculation(s), order };
  return { column: parseColumn(s), order };
}

/** The inverse of parseOrder. @param {{op?: string, column?: string, order?: string}} o */
export function formatOrder(o) {
  let s = quoteColumn(o.column ?? "");
  if (o.op) s = formatCalculation({ op: o.op, column: o.column });
  else if (looksLikeCalculation(s)) s = JSON.stringify(o.column);
  return `${s} ${o.order === "descending" ? "desc" : "asc"}`;
}

/**
 * Reads "COUNT > 10" or "P99(duration_ms) >= 250".
 * @param {string} text
 * @returns {{calculate_op: string, column?: string, op: string, value: number}}
 */
export function parseHaving(text) {
  const last = Math.max(text.lastIndexOf("="), text.lastIndexOf("<"), text.lastIndexOf(">"));
  if (last < 0) throw new TextError("Compare a calculation with a number, as in COUNT > 10.");
  let first = last;
  while (first > 0 && "=!<>".includes(text[first - 1])) first--;
  refuseUnknownSign(text.slice(first));
  const found = cutOperator(text.slice(first));
  if (!found || found.rest === "") throw new TextError("The number is missing, as in COUNT > 10.");
  const c = parseCalculation(text.slice(0, first).trim());
  const value = Number(found.rest);
  if (!Number.isFinite(value)) throw new TextError(`${JSON.stringify(found.rest)} is not a number.`);
  return { calculate_op: c.op, ...(c.column ? { column: c.column } : {}), op: found.op, value };
}

/** The inverse of parseHaving. @param {{calculate_op: string, column?: string, op: string, value: number}} h */
export function formatHaving(h) {
  return `${formatCalculation({ op: h.calculate_op, column: h.column })} ${h.op} ${h.value}`;
}

/**
 * Reads "name = expression". What the expression says is read by the server.
 * @param {string} text
 * @returns {{name: string, expression: string}}
 */
export function parseCalculated(text) {
  const { column: name, rest } = cutColumn(text, "=");
  const expression = rest.slice(1).trim();
  if (name === "" || !rest.startsWith("=") || expression === "") throw new TextError("Write a calculated field as name = expression.");
  return { name, expression };
}

/** The inverse of parseCalculated. @param {{name: string, expression: string}} f */
export function formatCalculated(f) {
  return `${quoteColumn(f.name)} = ${f.expression}`;
}

/** Reads a column's name, quoted or not; unquoted it may hold spaces. @param {string} text */
export function parseColumn(text) {
  const s = text.trim();
  const { column, rest } = cutColumn(s, "");
  if (rest === "") return column;
  if (s.startsWith('"')) throw new TextError("Something follows the closing quote.");
  return s;
}

/** Writes a column's name so that it is read back whole. @param {string} column */
export function quoteColumn(column) {
  return column === "" || /[ \t\r\n"=!<>~()]/.test(column) ? JSON.stringify(column) : column;
}

/**
 * Splits off a column's name: a JSON string, or everything up to a blank or one of stop.
 * @param {string} text
 * @param {string} stop
 * @returns {{column: string, rest: string}}
 */
export function cutColumn(text, stop) {
  const s = text.trim();
  if (s.startsWith('"')) {
    const { text: column, rest } = cutQuoted(s);
    return { column, rest };
  }
  const i = [...s].findIndex((ch) => " \t\r\n".includes(ch) || stop.includes(ch));
  if (i < 0) return { column: s, rest: "" };
  const column = [...s].slice(0, i).join("");
  return { column, rest: s.slice(column.length).trim() };
}

/**
 * Throws if the run of signs at the front is no operator, such as =~, which else
 * would be read as = and a value that begins with ~.
 * @param {string} s
 */
function refuseUnknownSign(s) {
  const sign = /^[=!<>~]*/.exec(s)[0];
  if (sign === "" || SYMBOL_OPS.some(([known]) => known === sign)) return;
  throw new TextError(`There is no operator ${sign}; write =, !=, <, <=, >, >= or contains. Quote a value that begins with a sign.`);
}

/**
 * Splits off an operator, undefined if there is none.
 * @param {string} s
 * @returns {{op: string, rest: string} | undefined}
 */
export function cutOperator(s) {
  for (const [sign, op] of SYMBOL_OPS) {
    if (s.startsWith(sign)) return { op, rest: s.slice(sign.length).trim() };
  }
  for (const op of WORD_OPS) {
    if (s.slice(0, op.length).toLowerCase().replaceAll(" ", "-") !== op) continue;
    const rest = s.slice(op.length);
    if (rest === "" || " \t(".includes(rest[0])) return { op, rest: rest.trim() };
  }
  return undefined;
}

function parseList(text) {
  let s = text;
  if (s.startsWith("(")) {
    if (!s.endsWith(")")) throw new TextError("The closing bracket is missing, as in (uk, de).");
    s = s.slice(1, -1).trim();
  }
  const list = [];
  while (s !== "") {
    const { value, rest } = cutValue(s, ",");
    list.push(value);
    if (rest === "") break;
    if (!rest.startsWith(",")) throw new TextError("Put a comma between the values.");
    s = rest.slice(1).trim();
  }
  if (list.length === 0) throw new TextError("List the values, as in (uk, de).");
  return list;
}

function cutValue(text, stop) {
  if (text.startsWith('"')) {
    const { text: value, rest } = cutQuoted(text);
    return { value, rest };
  }
  let s = text;
  let rest = "";
  const i = stop === "" ? -1 : text.indexOf(stop);
  if (i >= 0) {
    s = text.slice(0, i).trim();
    rest = text.slice(i);
  }
  if (s === "true" || s === "false") return { value: s === "true", rest };
  if (isNumberText(s)) return { value: Number(s) + 0, rest };
  return { value: s, rest };
}

function isNumberText(s) {
  if (!NUMBER.test(s)) return false;
  const n = Number(s);
  if (!Number.isFinite(n)) return false;
  if (!INTEGER.test(s)) return true;
  const exact = BigInt(s);
  return exact <= 2n ** 53n && exact >= -(2n ** 53n);
}

/**
 * The inverse of reading one value; quote holds characters that force quotes.
 * @param {unknown} value
 * @param {string} quote
 */
export function formatValue(value, quote = "") {
  if (typeof value === "string") {
    const plain = value !== "" && value !== "true" && value !== "false" && !isNumberText(value)
      && !value.startsWith('"') && value.trim() === value && ![...`\t\r\n${quote}`].some((ch) => value.includes(ch));
    return plain ? value : JSON.stringify(value);
  }
  if (value === null || value === undefined) return '""';
  return String(value);
}

function cutQuoted(s) {
  for (let i = 1; i < s.length; i++) {
    if (s[i] === "\\") i++;
    else if (s[i] === '"') {
      try {
        return { text: JSON.parse(s.slice(0, i + 1)), rest: s.slice(i + 1).trim() };
      } catch {
        throw new TextError("The quoted text is not valid; escape as in JSON.");
      }
    }
  }
  throw new TextError("The closing quote is missing.");
}

function looksLikeCalculation(s) {
  const i = s.indexOf("(");
  const op = (i < 0 ? s : s.slice(0, i)).trim().toUpperCase();
  return (i < 0 ? BARE_CALCULATION_OPS : CALCULATION_OPS).includes(op);
}
