import test from "node:test";
import assert from "node:assert/strict";
import { rank } from "./fuzzy.js";
import { ordered } from "./palette_list.js";
import { forget, recent, visit } from "./palette_recent.js";

const store = () => {
  const kept = new Map();
  return { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v), removeItem: (k) => kept.delete(k) };
};

test("recent places: the newest first, each once, boards without their title", () => {
  const s = store();
  visit(s, "/t/aa", "GET /quotes · redthread");
  visit(s, "/i/i_1?view=lanes", "Secret title · redthread");
  visit(s, "/inbox", "Inbox · redthread");
  visit(s, "/t/aa/bb?zoom=1", "GET /quotes · redthread");
  assert.deepEqual(recent(s), [{ path: "/t/aa/bb?zoom=1", title: "GET /quotes" }, { path: "/i/i_1", title: "" }]);
  for (let i = 0; i < 30; i++) visit(s, `/t/${i}`, "x");
  assert.equal(recent(s).length, 10);
  forget(s);
  assert.deepEqual(recent(s), []);
});

test("each question is a place", () => {
  const s = store();
  for (const q of ["g=a", "g=b", "g=a"]) visit(s, `/explore?${q}`, q);
  assert.deepEqual(recent(s).map((p) => p.path), ["/explore?g=a", "/explore?g=b"]);
  visit(s, "/explore?v=P95(duration_ms)&v=COUNT&w=service.name+%3D+web&g=http.route", "Explore");
  assert.equal(recent(s)[0].title, "P95(duration_ms), COUNT where service.name = web by http.route");
});

test("what is no list of places is none", () => {
  for (const raw of ["", "{", "{}", '[{"path":"https://evil.example","title":"x"},{"path":3},null]']) {
    const s = store();
    s.setItem("redthread:places", raw);
    assert.deepEqual(recent(s), []);
  }
});

test("ids come first, headings stay together, an address once", () => {
  const items = [
    { kind: "action", label: "Pin", run() {} }, { kind: "screen", label: "Explore", url: "/explore" }, { kind: "investigation", label: "Pins fall off", url: "/i/1" },
    { kind: "recent", label: "Pins fall off", url: "/i/1" }, { kind: "service", label: "pin-api", url: "/services/pin-api" }, { kind: "trace", label: "GET / · web", url: "/t/1" },
  ];
  const got = ordered("pin", items, (list) => rank("pin", list)).map((it) => it.kind);
  assert.equal(got[0], "trace");
  assert.deepEqual(got.slice(1).sort(), ["action", "investigation", "service"]);
  assert.deepEqual(ordered("", items, (list) => list).map((it) => it.kind), ["trace", "action", "screen", "investigation", "service"]);
});
