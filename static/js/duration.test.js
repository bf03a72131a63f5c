import test from "node:test";
import assert from "node:assert/strict";
import { duration } from "./duration.js";

// The same table is in views/duration_test.go.
const cases = [
  [0, "0 ns"], [850, "850 ns"], [1000, "1 µs"], [12_340, "12.3 µs"], [999_500, "1 ms"], [6_000_000, "6 ms"], [6_126_000, "6.13 ms"],
  [611_400_000, "611 ms"], [999_499_999, "999 ms"], [999_600_000, "1 s"], [1_840_000_000, "1.84 s"], [59_940_000_000, "59.9 s"],
  [125_000_000_000, "2 min 5 s"], [11_040_000_000_000, "3 h 4 min"], [183_600_000_000_000, "2 d 3 h"], [-412_000_000, "-412 ms"],
];

test("durations read as the server writes them", () => {
  for (const [nano, want] of cases) assert.equal(duration(nano), want);
});
