import test from "node:test";
import assert from "node:assert/strict";
import { placeOf } from "./palette_list.js";

const it = (label, url = `/${label}`) => ({ kind: "service", label, url });

test("what was chosen stays chosen when more is found", () => {
  const before = [it("a"), it("b"), it("c")];
  assert.equal(placeOf(before, 1, [it("x"), it("a"), it("y"), it("b")]), 3);
});

test("the first was nobody's choice: what is first now takes its place", () => {
  assert.equal(placeOf([it("a"), it("b")], 0, [it("x"), it("a")]), 0);
});

test("what is gone leaves the first", () => {
  assert.equal(placeOf([it("a"), it("b")], 1, [it("a"), it("b", "/other")]), 0);
  assert.equal(placeOf([], 3, []), 0);
});
