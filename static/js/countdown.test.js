import assert from "node:assert/strict";
import test from "node:test";
import { dueWords } from "./countdown.js";

test("what is due counts down, and then up", () => {
  const now = Date.parse("2026-11-22T14:09:00Z");
  assert.equal(dueWords(now + 9 * 60_000, now), "next update in 9 min");
  assert.equal(dueWords(now + 10_000, now), "next update just now");
  assert.equal(dueWords(now - 3 * 60_000, now), "update overdue 3 min");
});
