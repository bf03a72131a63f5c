import assert from "node:assert/strict";
import { test } from "node:test";
import { initials, names, typingWords, whereWords } from "./presence_words.js";

test("where somebody is", () => {
  for (const [pages, want] of [
    [[], "elsewhere"], [["/i/i_1", "/t/1"], "on the board"], [["/t/1/2?zoom=1-2"], "in a trace"], [["/thread/1"], "in a thread"],
    [["/explore"], "in Explore"], [["/explore?v=COUNT"], "in Explore"], [["/settings"], "elsewhere"], [["/"], "at home"], [["/?environment=prod"], "at home"], [["/jobs/Mail%2FJob?range=1h"], "in Jobs"], [["/__proto__"], "elsewhere"],
  ]) assert.equal(whereWords(pages), want, pages.join());
});

test("initials", () => {
  for (const [name, want] of [["Ann Bo Cy", "AB"], ["ann@example.com", "AE"], ["", "?"], ["𝒜da", "𝒜"]]) assert.equal(initials(name), want);
});

test("typing", () => {
  assert.equal(typingWords(null), "");
  assert.equal(typingWords({ field: "text", typing: false }), "");
  assert.equal(typingWords({ field: "text", typing: true }), "is typing");
  assert.equal(typingWords({ field: "title", typing: true }), "is changing the title");
});

test("names in one line", () => {
  const people = (n) => Array.from({ length: n }, (_, i) => ({ name: "ABCDE"[i] }));
  assert.deepEqual([1, 2, 3, 5].map((n) => names(people(n))), ["A", "A and B", "A, B and 1 other", "A, B and 3 others"]);
});
