import test from "node:test";
import assert from "node:assert/strict";
import { barOf, clampZoom, decodeRows, guides, nextOf, noteOf, percent, rowsInView, timeTicks, zoomTo } from "./waterfall_layout.js";

test("the tree follows from the depths", () => {
  const rows = decodeRows({ key: ["a", "b", "c", "d", "e"], depth: [0, 1, 2, 1, 0], flags: [0, 0, 1, 1, 0] });
  assert.deepEqual(rows.parent, [-1, 0, 1, 0, -1]);
  assert.deepEqual(rows.end, [4, 3, 3, 4, 5]);
  assert.deepEqual(rows.errorsBelow, [2, 1, 0, 0, 0]);
  assert.equal(rows.index.get("d"), 3);
});

// The same cases are in handlers/trace_view_test.go.
test("bars lie in the window, cut a little beyond its edges", () => {
  assert.deepEqual(barOf(0, 100, 0, 100), { x: "0%", width: "100%" });
  assert.deepEqual(barOf(25, 50, 0, 100), { x: "25%", width: "25%" });
  assert.deepEqual(barOf(0, 1e15, 10, 20), { x: "-1%", width: "102%" });
  assert.deepEqual(barOf(90, 95, 0, 10), { x: "101%", width: "0%" });
  assert.deepEqual(barOf(0, 0, 0, 0), { x: "0%", width: "0%" });
  assert.equal(percent(1, 3), "33.333%");
});

test("words stand where there is room", () => {
  assert.deepEqual(noteOf(10, 20, 0, 100), { x: "20%", end: false });
  assert.deepEqual(noteOf(60, 90, 0, 100), { x: "60%", end: true });
  assert.deepEqual(noteOf(0, 100, 0, 100), { x: "100%", end: true });
});

test("ticks are round and few", () => {
  assert.deepEqual(timeTicks(0, 1_840_000_000).map((t) => t.text), ["0", "500 ms", "1 s", "1.5 s"]);
  assert.deepEqual(timeTicks(1_200_000, 5_300_000).map((t) => t.text), ["2 ms", "3 ms", "4 ms", "5 ms"]);
  for (const extent of [1, 7, 999, 1e6, 3.3e9, 8.64e13, 9e15]) {
    const ticks = timeTicks(0, extent);
    assert.ok(ticks.length >= 2 && ticks.length <= 6, `${ticks.length} ticks for ${extent}`);
  }
});

test("a zoom stays inside the trace", () => {
  assert.deepEqual(clampZoom(50, 20, 1000), { from: 20, to: 120 });
  assert.deepEqual(clampZoom(900, 1300, 1000), { from: 600, to: 1000 });
  assert.deepEqual(clampZoom(-10, 5000, 1000), { from: 0, to: 0 });
  assert.deepEqual(zoomTo(1000, 2000, 1e6), { from: 900, to: 3100 });
});

test("next and previous go round", () => {
  assert.equal(nextOf([2, 5, 9], 5, 1), 9);
  assert.equal(nextOf([2, 5, 9], 9, 1), 2);
  assert.equal(nextOf([2, 5, 9], 2, -1), 9);
  assert.equal(nextOf([2, 5, 9], -1, 1), 2);
  assert.equal(nextOf([], 3, 1), -1);
});

test("only rows in view are drawn", () => {
  assert.deepEqual(rowsInView(0, 520, 26, 10_000), { first: 0, last: 32 });
  assert.deepEqual(rowsInView(26_000, 520, 26, 10_000), { first: 988, last: 1032 });
  assert.deepEqual(rowsInView(1e9, 520, 26, 40), { first: 28, last: 40 });
  assert.deepEqual(rowsInView(0, 520, 26, 0), { first: 0, last: 0 });
});

// The same cases are in views/trace_test.go.
test("deep levels are drawn closer, and in the end no further in", () => {
  assert.deepEqual(guides(0), { width: 0, path: "" });
  assert.deepEqual(guides(2), { width: 28, path: "M7.5 0v44M21.5 0v44" });
  assert.equal(guides(10).width, 120);
  assert.ok(guides(10).path.endsWith("M105.5 0v44M114.5 0v44M118.5 0v44"));
  assert.equal(guides(500).width, 160);
});
