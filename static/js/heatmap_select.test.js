import assert from "node:assert/strict";
import { test } from "node:test";
import { bands, cellAt } from "./heatmap_select.js";

// A window of 100 s that begins in the middle of a bucket of 20 s.
const heat = { from: 10_000, to: 110_000, start: 0, step: 20_000, rows: [[1, 10], [10, 100], [100, 1000], [1000, 10000]] };

test("a place is in one cell", () => {
  assert.deepEqual(cellAt(heat, { x: 0, y: 0 }), { bucket: 0, row: 0, from: 0, to: 20_000, min: 1, max: 10 });
  assert.deepEqual(cellAt(heat, { x: 0.5, y: 0.6 }), { bucket: 3, row: 2, from: 60_000, to: 80_000, min: 100, max: 1000 });
  assert.equal(cellAt(heat, { x: 1, y: 1 }).row, 3);
  assert.equal(cellAt({ ...heat, rows: [] }, { x: 0, y: 0 }), undefined);
});

test("a box grows to whole cells and stays in the window, whichever way it is dragged", () => {
  const want = { from: 20_000, to: 80_000, min: 10, max: 1000 };
  const picked = bands(heat, { x: 0.6, y: 0.55 }, { x: 0.2, y: 0.3 });
  assert.deepEqual(picked.selection, want);
  assert.deepEqual(bands(heat, { x: 0.2, y: 0.3 }, { x: 0.6, y: 0.55 }), picked);
  assert.deepEqual(picked.low, { x: 0.1, y: 0.25 });
  assert.deepEqual(picked.high, { x: 0.7, y: 0.75 });
  assert.deepEqual(bands(heat, { x: 0, y: 0 }, { x: 1, y: 1 }).selection, { from: 10_000, to: 110_000, min: 1, max: 10000 });
});
