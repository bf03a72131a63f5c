import test from "node:test";
import assert from "node:assert/strict";
import { waitingKeys } from "./keys_wait.js";

const about = (...keys) => (e) => () => keys.includes(e.key);

function keyboard(...keys) {
  const pressed = [];
  const waiting = waitingKeys((e) => pressed.push(e.key));
  const isAbout = about(...keys);
  const press = (text) => [...text].forEach((key) => waiting.takes({ key }, isAbout({ key })) || pressed.push(key));
  return { pressed, press, comes: waiting.comes };
}

const later = () => {
  let done;
  const shown = new Promise((d) => { done = d; });
  return { shown, done };
};

test("with nothing on its way no key waits", () => {
  const k = keyboard("o");
  k.press("jo");
  assert.equal(k.pressed.join(""), "jo");
});

test("a key about what comes waits for it, with all behind it", async () => {
  const k = keyboard("c");
  const panel = later();
  k.comes(panel.shown);
  k.press("jcabc");
  assert.equal(k.pressed.join(""), "j");
  panel.done(true);
  await panel.shown;
  assert.equal(k.pressed.join(""), "jcabc");
  k.press("c");
  assert.equal(k.pressed.join(""), "jcabcc");
});

test("it waits for the last that comes, and not for one that was given up", async () => {
  const k = keyboard("c");
  const [first, second] = [later(), later()];
  k.comes(first.shown);
  k.press("c");
  k.comes(second.shown);
  first.done(false);
  await first.shown;
  k.press("x");
  assert.equal(k.pressed.join(""), "");
  second.done(true);
  await second.shown;
  assert.equal(k.pressed.join(""), "cx");
});

test("all keys wait for what the others are about, too", async () => {
  const k = keyboard("c");
  const fold = later();
  k.comes(fold.shown, true);
  k.press("j");
  assert.equal(k.pressed.join(""), "");
  fold.done(true);
  await fold.shown;
  assert.equal(k.pressed.join(""), "j");
});

test("what does not come takes its keys along", async () => {
  const k = keyboard("c");
  const panel = later();
  k.comes(panel.shown);
  k.press("cx");
  panel.done(false);
  await panel.shown;
  k.press("j");
  assert.equal(k.pressed.join(""), "j");
});
