import test from "node:test";
import assert from "node:assert/strict";
import { belongTo, leave } from "./owner.js";
import { recent, visit } from "./palette_recent.js";

const store = () => {
  const kept = new Map();
  return { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v), removeItem: (k) => kept.delete(k), clear: () => kept.clear() };
};

test("what one person left is not the next one's, in any tab", () => {
  const [local, tab, other] = [store(), store(), store()];
  const write = (session) => {
    session.setItem("redthread:draft:1", "Half a thought");
    visit(local, "/t/aa", "GET /quotes");
  };
  const left = (session) => [session.getItem("redthread:draft:1"), recent(local).length];
  for (const session of [tab, other]) {
    belongTo("u_ann", local, session);
    write(session);
    belongTo(undefined, local, session); // the page where one signs in
    belongTo("u_ann", local, session);
    assert.deepEqual(left(session), ["Half a thought", 1]);
  }
  belongTo("u_bob", local, tab);
  assert.deepEqual(left(tab), [null, 0]);
  belongTo("u_bob", local, other); // opened before Bob came
  assert.deepEqual(left(other), [null, 0]);
  write(other);
  leave(local, other);
  assert.deepEqual(left(other), [null, 0]);
});
