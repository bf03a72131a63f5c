import test from "node:test";
import assert from "node:assert/strict";
import { stepBar, timeAt, zoomed } from "./thread_scale.js";

test("steps stay among the bars", () => {
  assert.equal(stepBar(-1, 1, 3), 0);
  assert.equal(stepBar(-1, -1, 3), 2);
  assert.equal(stepBar(2, 1, 3), 2);
  assert.equal(stepBar(0, -1, 3), 0);
  assert.equal(stepBar(0, 1, 0), -1);
});

test("times on a scale with a cut", () => {
  const scale = [[0, 1000, 1, 40], [1000, 9e15, 41, 5], [9e15, 9e15 + 2000, 46, 40]];
  assert.equal(timeAt(scale, 1), 0);
  assert.equal(timeAt(scale, 21), 500);
  assert.equal(timeAt(scale, 46), 9e15);
  assert.equal(timeAt(scale, 66), 9e15 + 1000);
  assert.equal(timeAt(scale, 0), -25, "before the first piece");
  assert.equal(timeAt(scale, 96), 9e15 + 2500, "after the last");
  for (let x = 1, last = -1; x <= 86; x++) {
    const t = timeAt(scale, x);
    assert.ok(t > last, `time at ${x} %`);
    last = t;
  }
});

test("a zoom replaces the one before and keeps the rest", () => {
  assert.equal(zoomed("/thread/0a", 1.4, 9), "/thread/0a?zoom=1~9");
  assert.equal(zoomed("/thread/0a?span=0b&zoom=3~4&open=x", -5, 9), "/thread/0a?span=0b&open=x&zoom=-5~9");
});
