import test from "node:test";
import assert from "node:assert/strict";

// thread.js imports keys.js, which is DOM code without side effects on import.
const { stepBar } = await import("./thread.js");

test("steps stay among the bars", () => {
  assert.equal(stepBar(-1, 1, 3), 0);
  assert.equal(stepBar(-1, -1, 3), 2);
  assert.equal(stepBar(2, 1, 3), 2);
  assert.equal(stepBar(0, -1, 3), 0);
  assert.equal(stepBar(0, 1, 0), -1);
});
