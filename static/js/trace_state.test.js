import test from "node:test";
import assert from "node:assert/strict";
import { href, isFolded, openedTo, parseState, toggled, visibleRows } from "./trace_state.js";
import { decodeRows } from "./waterfall_layout.js";

// The addresses here are also in handlers/trace_state_test.go.
test("an address is read and written back", () => {
  for (const want of [
    "/t/0a",
    "/t/0a/0000000000000002",
    "/t/0a/0000000000000002?half=1",
    "/t/0a?levels=2&open=0000000000000003",
    "/t/0a/0000000000000002?fold=0000000000000003,~0000000000000009&zoom=1200-5000&part=2&critical=1&q=SELECT+%26+%C3%BC&fields=db.",
  ]) assert.equal(href(parseState(want)), want);
});

test("what cannot be read is left out", () => {
  for (const q of ["zoom=5-1", "zoom=-4-7", "zoom=x", "levels=-1", "levels=many", "half=2", "part=-1", "part=x"]) {
    assert.equal(href(parseState(`/t/0a?${q}`)), "/t/0a", q);
  }
  assert.equal(parseState(`/t/0a?fold=${"a,".repeat(900)}`).fold.length, 200);
});

const rows = decodeRows({ key: ["1", "2", "3", "4"], depth: [0, 1, 2, 1], name: [0, 0, 0, 0], names: [""], flags: [0, 0, 0, 0] });
const state = (more) => ({ ...parseState("/t/0a"), ...more });

test("rows inside a folded one are hidden", () => {
  assert.deepEqual(visibleRows(state({}), rows), [0, 1, 2, 3]);
  assert.deepEqual(visibleRows(state({ fold: ["2"] }), rows), [0, 1, 3]);
  assert.deepEqual(visibleRows(state({ fold: ["4"] }), rows), [0, 1, 2, 3], "a leaf cannot fold");
  assert.deepEqual(visibleRows(state({ levels: 1 }), rows), [0]);
  assert.deepEqual(visibleRows(state({ levels: 2 }), rows), [0, 1, 3]);
  assert.deepEqual(visibleRows(state({ levels: 2, open: ["2"] }), rows), [0, 1, 2, 3]);
});

test("folding twice changes nothing, and a row can be opened down to", () => {
  const st = toggled(toggled(state({}), "2", 1), "2", 1);
  assert.deepEqual(st.fold, []);
  assert.ok(isFolded(toggled(st, "2", 1), "2", 1));
  assert.deepEqual(visibleRows(openedTo(state({ levels: 1 }), rows, 2), rows), [0, 1, 2, 3]);
});
