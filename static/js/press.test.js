import test from "node:test";
import assert from "node:assert/strict";
import { afterPress, letGo, watchPresses } from "./press.js";

const page = new EventTarget();
watchPresses(page);
const say = (type, more) => page.dispatchEvent(Object.assign(new Event(type), more));
const down = () => say("pointerdown", { button: 0 });
const rest = () => new Promise((done) => setTimeout(done)).then(letGo);

test("what comes while something is pressed waits until its click was heard, in its order", async () => {
  const done = [];
  afterPress(() => done.push("before"));
  down();
  afterPress(() => done.push("first"));
  letGo().then(() => done.push("second"));
  say("pointerup", { pointerType: "mouse" });
  await Promise.resolve();
  page.addEventListener("click", () => done.push("click"), { once: true });
  say("click");
  await Promise.resolve();
  assert.deepEqual(done, ["before", "click"]);
  await rest();
  assert.deepEqual(done, ["before", "click", "first", "second"]);
});

test("a press that clicks nothing ends, too", async () => {
  for (const end of [["pointercancel"], ["contextmenu"], ["dragstart"], ["blur"], ["pointermove", { pointerType: "mouse", buttons: 0 }], ["pointerup", { pointerType: "touch" }]]) {
    down();
    let free = false;
    afterPress(() => {
      free = true;
    });
    assert.equal(free, false, end[0]);
    say(...end);
    await rest();
    assert.equal(free, true, end[0]);
  }
});

test("a press that begins before the last one was over goes on", async () => {
  down();
  let free = false;
  afterPress(() => {
    free = true;
  });
  say("pointerup", { pointerType: "mouse" });
  say("click");
  down();
  await new Promise((done) => setTimeout(done, 5));
  assert.equal(free, false);
  say("pointercancel");
  await rest();
  assert.equal(free, true);
});

test("other buttons of a mouse hold nothing", () => {
  say("pointerdown", { button: 2 });
  let free = false;
  afterPress(() => {
    free = true;
  });
  assert.equal(free, true);
});
