import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as text from "./explore_text.js";

const cases = JSON.parse(readFileSync(new URL("../../handlers/testdata/explore_text.json", import.meta.url), "utf8"));

for (const [kind, parse, format] of [
  ["filters", text.parseFilter, text.formatFilter],
  ["calculations", text.parseCalculation, text.formatCalculation],
  ["orders", text.parseOrder, text.formatOrder],
  ["havings", text.parseHaving, text.formatHaving],
  ["calculated", text.parseCalculated, text.formatCalculated],
]) {
  test(`${kind}: parsing and printing are inverse, as in Go`, () => {
    assert.ok(cases[kind].length > 0);
    for (const c of cases[kind]) {
      if (c.error) {
        assert.throws(() => parse(c.text), text.TextError, c.text);
        continue;
      }
      const value = parse(c.text);
      assert.deepEqual(value, c.value, c.text);
      assert.equal(format(value), c.prints ?? c.text);
      assert.deepEqual(parse(format(value)), value, c.text);
    }
  });
}
