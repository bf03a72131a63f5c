import assert from "node:assert/strict";
import { test } from "node:test";
import { searchOf, withFilter, withGroup, withSelection, withTab, withValue, withWindow, withoutSelection } from "./explore_url.js";

const base = new URLSearchParams("v=COUNT&w=a+%3D+b&range=1h&after=x");

test("a form's empty inputs are left out", () => {
  const q = searchOf([["v", "COUNT"], ["v", " "], ["w", ""], ["w", " a = b "], ["range", "1h"], ["from", "2026-01-01"], ["to", ""]]);
  assert.equal(q.toString(), "v=COUNT&w=a+%3D+b&range=1h");
});

test("without a relative range From and To stay", () => {
  assert.equal(searchOf([["range", ""], ["from", "1"], ["to", "2"]]).toString(), "from=1&to=2");
});

test("a filter is added once", () => {
  const q = withFilter(base, "a", "=", "b");
  assert.deepEqual(q.getAll("w"), ["a = b"]);
  assert.deepEqual(withFilter(q, "duration_ms", ">=", 250).getAll("w"), ["a = b", "duration_ms >= 250"]);
});

test("a value is filtered by its type, a missing one by its absence", () => {
  assert.deepEqual(withValue(base, "zip", "500", false).getAll("w").at(-1), 'zip = "500"');
  assert.deepEqual(withValue(base, "zip", 500, true).getAll("w").at(-1), "zip != 500");
  assert.deepEqual(withValue(base, "zip", undefined, false).getAll("w").at(-1), "zip does-not-exist");
  assert.deepEqual(withValue(base, "zip", undefined, true).getAll("w").at(-1), "zip exists");
});

test("a window replaces the range and the page of rows", () => {
  const q = withWindow(base, 1_700_000_000_250, 1_700_000_060_000);
  assert.equal(q.toString(), "v=COUNT&w=a+%3D+b&from=1700000000.25&to=1700000060");
  assert.equal(base.get("range"), "1h", "the address given is not changed");
});

test("grouping and tabs", () => {
  assert.deepEqual(withGroup(base, "odd column").getAll("g"), ['"odd column"']);
  assert.equal(withTab(base, "traces").get("tab"), "traces");
  assert.equal(withTab(withTab(base, "raw"), "results").has("tab"), false);
});

test("a box is selected, the window made absolute", () => {
  const window = { from: 1_700_000_000_000, to: 1_700_000_060_000 };
  const q = withSelection(base, { from: 1_700_000_010_000, to: 1_700_000_020_500, column: "duration_ms", min: 250, max: 1e21 }, window);
  assert.equal(q.get("from"), "1700000000");
  assert.equal(q.get("to"), "1700000060");
  assert.equal(q.has("range"), false);
  assert.equal(q.get("sfrom"), "1700000010");
  assert.equal(q.get("sto"), "1700000020.5");
  assert.deepEqual(q.getAll("s"), ["duration_ms >= 250", "duration_ms < 1e+21"]);
  assert.equal(q.get("tab"), "bubbleup");
  assert.deepEqual(q.getAll("w"), ["a = b"], "the query stays");
  assert.equal(q.has("after"), false);
});

test("another selection replaces the first; ends of the window do not bound", () => {
  const window = { from: 1_700_000_000_000, to: 1_700_000_060_000 };
  const first = withSelection(base, { column: "x", min: 1, max: 2 }, window);
  const q = withSelection(first, { from: window.from, to: 1_700_000_030_000 }, window);
  assert.deepEqual(q.getAll("s"), []);
  assert.equal(q.has("sfrom"), false);
  assert.equal(q.get("sto"), "1700000030");
  const gone = withoutSelection(q);
  assert.equal(gone.has("sto") || gone.has("tab"), false);
  assert.equal(withoutSelection(withTab(q, "raw")).get("tab"), "raw");
});
