import test from "node:test";
import assert from "node:assert/strict";
import { activeKeys, conflictsOf } from "./keys_list.js";

const key = (k, does, more) => ({ key: k, does, run() {}, ...more });

test("what does not work now is not listed", () => {
  const bound = [{ owner: "a", list: [key("j", "next", { when: () => false }), key("k", "before")] }];
  assert.deepEqual(activeKeys(bound).map((b) => b.key), ["k"]);
});

test("of one module's the last is meant", () => {
  const bound = [{ owner: "pin", list: [key("p", "the trace")] }, { owner: "pin", list: [key("p", "the span")] }];
  assert.deepEqual(activeKeys(bound).map((b) => b.does), ["the span"]);
  assert.deepEqual(conflictsOf(bound), []);
});

test("two modules may not claim one key at once", () => {
  const a = { owner: "a", list: [key("e", "done")] };
  const b = { owner: "b", list: [key("e", "effects")] };
  assert.deepEqual(conflictsOf([a, b]), ["e (a, b)"]);
  assert.deepEqual(conflictsOf([a, { owner: "b", list: [key("e", "effects", { when: () => false })] }]), []);
  assert.equal(conflictsOf([{ owner: "a", list: [key("g", "nothing")] }]).length, 1);
});

test("actions without a key do not clash", () => {
  const bound = [{ owner: "a", list: [key("", "x", { action: "X" })] }, { owner: "b", list: [key("", "y", { action: "Y" })] }];
  assert.deepEqual(activeKeys(bound).map((b) => b.action), ["X", "Y"]);
  assert.deepEqual(conflictsOf(bound), []);
});
