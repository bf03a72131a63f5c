import assert from "node:assert/strict";
import { test } from "node:test";
import { mentionAt, withMention } from "./mention_text.js";

test("a name begins with an @ that is in no word", () => {
  const at = (text, caret = text.length) => mentionAt(text, caret)?.typed ?? null;
  assert.equal(at("@"), "");
  assert.equal(at("see @bo"), "bo");
  assert.equal(at("see @bo ols"), "bo ols");
  assert.equal(at("(@Zoë"), "Zoë");
  assert.equal(at("ann@example"), null);
  assert.equal(at("see @bo, and"), null);
  assert.equal(at("see @bo who runs"), null);
  assert.equal(at("@bo\n"), null);
  assert.equal(at("see @bo there", 7), "bo");
  assert.equal(mentionAt("see @bo", 7).start, 5);
  assert.equal(mentionAt(`${"x".repeat(500)} @bo`, 504).start, 502);
});

test("a name that is taken stands in place of what was typed", () => {
  assert.deepEqual(withMention("see @bo", 5, 7, "Bo Olsen"), { text: "see @Bo Olsen ", caret: 14 });
  assert.deepEqual(withMention("see @bo there", 5, 7, "quotes"), { text: "see @quotes there", caret: 12 });
});
