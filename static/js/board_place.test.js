import assert from "node:assert/strict";
import test from "node:test";
import { dropPlace } from "./board_place.js";

test("dropPlace", () => {
  const ids = ["a", "b", "c", "d"];
  for (const [moved, target, behind, want] of [
    ["d", "a", false, ""],
    ["d", "a", true, "a"],
    ["a", "c", false, "b"],
    ["a", "d", true, "d"],
    ["b", "a", true, undefined], // it stands there
    ["b", "c", false, undefined],
    ["a", "b", false, undefined],
    ["b", "b", true, undefined],
    ["x", "b", true, undefined],
    ["a", "x", true, undefined],
  ]) {
    assert.equal(dropPlace(ids, moved, target, behind), want, `${moved} on ${target}, behind ${behind}`);
  }
});
