import assert from "node:assert/strict";
import { test } from "node:test";
import { niceCeil, number, span, tick, value } from "./chart_format.js";

// The numbers are those of TestFormatNumber in views/chart_test.go.
test("numbers read as the server writes them", () => {
  for (const [n, want] of [[0, "0"], [12408211, "12,408,211"], [-1234, "-1,234"], [1234.56, "1,234.6"], [99.996, "100"], [12.345, "12.35"],
    [1.23456, "1.235"], [0.5, "0.5"], [0.00012345, "0.0001234"]]) {
    assert.equal(number(n), want, String(n));
  }
  assert.equal(number(Infinity), "∞");
});

test("milliseconds are durations", () => {
  assert.equal(value(1840, "ms"), "1.84 s");
  assert.equal(value(0, "ms"), "0");
  assert.equal(value(1840, ""), "1,840");
});

test("axis ends are round", () => {
  for (const [n, want] of [[0, 1], [-3, 1], [1, 1], [1.2, 2], [2.1, 2.5], [3, 5], [70, 100], [0.03, 0.05]]) {
    assert.ok(Math.abs(niceCeil(n) - want) < 1e-9, `${n}: ${niceCeil(n)}`);
  }
});

test("time labels say as much as the axis needs", () => {
  const at = new Date(2026, 10, 22, 14, 3, 7).getTime();
  assert.equal(tick(at, 5000, 60_000), "14:03:07");
  assert.equal(tick(at, 600_000, 3_600_000), "14:03");
  assert.equal(tick(at, 3_600_000, 48 * 3_600_000), "22 Nov 14:03");
  assert.equal(tick(at, 86_400_000, 7 * 86_400_000), "22 Nov");
  assert.equal(span(at, at + 30_000), "14:03:07 – 14:03:37");
});
