import assert from "node:assert/strict";
import test from "node:test";
import { ago, clock, day, dayClock, moment } from "./time.js";

const now = Date.UTC(2026, 10, 22, 14, 3, 11);

// The same table is in views/ui/ui_test.go: a time reads alike, whoever wrote it.
test("ago", () => {
  for (const [seconds, want] of [
    [0, "just now"], [44, "just now"], [45, "1 min ago"], [119, "2 min ago"], [3600, "60 min ago"], [5400, "2 h ago"], [86400, "24 h ago"],
    [129600, "2 d ago"], [86400 * 40, "40 d ago"], [-30, "just now"], [-600, "in 10 min"], [-86400 * 7, "in 7 d"],
  ]) {
    assert.equal(ago(now - seconds * 1000, now), want, `${seconds} s`);
  }
});

test("clock has one order everywhere", () => {
  assert.equal(clock(new Date(2026, 0, 2, 3, 4, 5)), "2026-01-02 03:04:05");
});

test("a moment is a clock to the millisecond", () => {
  assert.equal(moment(new Date(2026, 0, 2, 3, 4, 5, 7)), "2026-01-02 03:04:05.007");
});

test("a time of day has its date unless that is today's", () => {
  const today = new Date(2026, 10, 22, 14, 3, 11);
  assert.equal(dayClock(new Date(2026, 10, 22, 9, 4), today), "09:04");
  assert.equal(dayClock(new Date(2026, 10, 21, 23, 59), today), "21 Nov 23:59");
  assert.equal(dayClock(new Date(2025, 10, 22, 9, 4), today), "22 Nov 2025 09:04");
});

test("a day has its year unless that is this one", () => {
  const today = new Date(2026, 10, 22, 14, 3, 11);
  assert.equal(day(new Date(2026, 10, 22, 0, 0), today), "Sun 22 Nov");
  assert.equal(day(new Date(2026, 10, 21, 23, 59), today), "Sat 21 Nov");
  assert.equal(day(new Date(2025, 10, 22, 9, 4), today), "Sat 22 Nov 2025");
});
