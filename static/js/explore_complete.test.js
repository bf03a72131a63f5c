import assert from "node:assert/strict";
import { test } from "node:test";
import { calculatedColumns, canonical, choices, describe } from "./explore_complete.js";
import { parseFilter } from "./explore_text.js";

const known = {
  columns: [
    { name: "service.name", types: ["string"], rows: 10, distinct: 2, top: [{ value: "quotes-api", rows: 7 }, { value: "web uk", rows: 1 }] },
    { name: "duration_ms", types: ["float"], rows: 10, distinct: 9, top: [] },
    { name: "zip", types: ["string"], rows: 3, distinct: 1, top: [{ value: "500", rows: 3 }] },
    { name: "odd column", types: ["string", "int"], rows: 1, distinct: 1, top: [{ value: { int: "9007199254740993" }, rows: 1 }] },
  ],
  operators: ["COUNT", "AVG", "P50", "P99", "HEATMAP"],
  calculations: ["COUNT", "P99(duration_ms)", "HEATMAP(duration_ms)"],
  groups: ["service.name"],
  functions: ["DIV", "GT", "GTE"],
};
const texts = (param, text) => choices(param, text, known).map((c) => c.text);

test("a filter completes column, operator and value in turn", () => {
  assert.deepEqual(texts("w", "serv"), ["service.name "]);
  assert.ok(texts("w", "service.name ").includes("service.name = "));
  assert.deepEqual(texts("w", "service.name cont"), ["service.name contains ", "service.name does-not-contain "]);
  assert.deepEqual(texts("w", "service.name = "), ["service.name = quotes-api", "service.name = web uk"]);
  assert.deepEqual(texts("w", "service.name = UK"), ["service.name = web uk"]);
  assert.deepEqual(texts("w", "service.name in (quotes-api, w"), ["service.name in (quotes-api, web uk)"]);
});

test("what is offered can be read back", () => {
  assert.deepEqual(texts("w", "zip ="), ['zip = "500"']);
  assert.deepEqual(parseFilter(texts("w", "zip =")[0]), { column: "zip", op: "=", value: "500" });
  assert.deepEqual(texts("w", '"odd'), [], "a name with an open quote is not read yet");
  assert.deepEqual(texts("w", '"odd column" = '), ['"odd column" = 9007199254740993']);
});

test("a calculation completes operator, then a column, numbers first", () => {
  assert.deepEqual(texts("v", "P"), ["P50(", "P99(", "HEATMAP("]);
  assert.equal(texts("v", "P99(")[0], "P99(duration_ms)");
  assert.deepEqual(texts("v", "COUNT("), []);
});

test("orders and conditions come from the query itself", () => {
  assert.deepEqual(texts("o", "P99"), ["P99(duration_ms) desc", "P99(duration_ms) asc"]);
  assert.ok(!texts("o", "").some((t) => t.startsWith("HEATMAP")));
  assert.deepEqual(texts("h", "CO"), ["COUNT > "]);
});

test("canonical passes over what is no calculation", () => {
  assert.deepEqual(canonical(["count", "p99 duration_ms", "nonsense", ""]), ["COUNT", "P99(duration_ms)"]);
});

test("a column is described by what it holds", () => {
  assert.equal(describe(known.columns[0]), "string · 2 values · quotes-api, web uk");
});

test("a scope completes to the columns of other spans", () => {
  assert.deepEqual(texts("g", "orig"), ["origin."]);
  assert.deepEqual(texts("g", "origin.serv"), ["origin.service.name"]);
  assert.deepEqual(texts("w", "non"), ["none."]);
  assert.deepEqual(texts("g", "non"), []); // in filters only
  assert.deepEqual(texts("w", "root.service.name = q"), ["root.service.name = quotes-api"]);
  assert.deepEqual(texts("v", "P99(par"), ["P99(parent."]);
  assert.deepEqual(texts("v", "P99(parent.dur"), ["P99(parent.duration_ms)"]);
  assert.deepEqual(texts("w", "ripple.job"), ["ripple.jobs "]);
});

test("scopes are offered before anything is typed, and say what they mean", () => {
  assert.deepEqual(texts("g", ""), ["service.name", "duration_ms", "zip", '"odd column"', "root.", "parent.", "cause.", "origin.", "ripple."]);
  assert.ok(texts("w", "").includes("none."));
  assert.ok(texts("v", "P99(").includes("P99(origin."));
  assert.equal(choices("w", "ripple.jobs", known)[0].note, "runs of jobs");
});

test("a calculated field completes functions and, behind a $, columns", () => {
  assert.deepEqual(texts("f", "slow"), [], "the name is one's own");
  assert.deepEqual(texts("f", "slow = g"), ["slow = GT(", "slow = GTE("]);
  assert.deepEqual(texts("f", "slow = "), ["slow = $", "slow = DIV(", "slow = GT(", "slow = GTE("]);
  assert.deepEqual(texts("f", "slow = GT($dur"), ["slow = GT($duration_ms"]);
  assert.deepEqual(texts("f", "slow = GT($odd"), ['slow = GT($"odd column"']);
  assert.deepEqual(texts("f", 'slow = GT($"odd c'), ['slow = GT($"odd column"']);
  assert.deepEqual(texts("f", "slow = GT($duration_ms, 1000)"), []);
  assert.deepEqual(texts("f", '"a = b" = DIV($zip, d'), ['"a = b" = DIV($zip, DIV(']);
});

test("a calculated field is a column of the other clauses", () => {
  const more = { ...known, columns: [...calculatedColumns(["slow = GT($duration_ms, 1000)", "unfinished"]), ...known.columns] };
  assert.deepEqual(choices("g", "slo", more).map((c) => [c.text, c.note]), [["slow", "calculated"]]);
});
