import test from "node:test";
import assert from "node:assert/strict";
import { rowAfter } from "./rows_step.js";

test("j and k go from row to row and stay at the ends", () => {
  assert.equal(rowAfter(-1, 3, 1), 0);
  assert.equal(rowAfter(-1, 3, -1), 2);
  assert.equal(rowAfter(1, 3, 1), 2);
  assert.equal(rowAfter(2, 3, 1), 2);
  assert.equal(rowAfter(0, 3, -1), 0);
  assert.equal(rowAfter(-1, 0, 1), -1);
});
