import assert from "node:assert/strict";
import test from "node:test";
import { backoff, judge, stale } from "./live_log.js";
import { serverTypes } from "./live_messages.js";

test("backoff grows, is bounded and never zero", () => {
  for (let n = 0; n < 40; n++) {
    const low = backoff(n, () => 0);
    const high = backoff(n, () => 1);
    assert.ok(low >= 150 && high <= 10_000 && low <= high, `${n}: ${low} to ${high}`);
  }
  assert.equal(backoff(0, () => 1), 300);
  assert.equal(backoff(20, () => 1), 10_000);
});

test("messages are taken once and in order", () => {
  const at = (offset, type = "note.added") => judge({ type, offset }, 7);
  assert.equal(at(8), "take");
  assert.equal(at(7), "skip");
  assert.equal(at(1), "skip");
  assert.equal(at(9), "gap");
  assert.equal(at(8, "rocket.launched"), "skip");
  assert.equal(judge({ type: "hello", offset: 9 }, 7), "other");
  assert.equal(judge({ type: "ack", offset: 8 }, 7), "other");
  assert.equal(judge({ type: "presence.changed" }, 7), "other");
});

test("every change makes something stale", () => {
  for (const type of serverTypes.filter((t) => /\.(created|updated|added|deleted|merged)$/.test(t))) {
    assert.ok(Object.values(stale({ type, id: "b_1" })).some(Boolean), type);
  }
  assert.deepEqual(stale({ type: "pin.deleted", id: "b_1" }), { gone: "b_1", words: true });
  assert.deepEqual(stale({ type: "investigation.deleted", id: "i_1" }), { deleted: true });
});
