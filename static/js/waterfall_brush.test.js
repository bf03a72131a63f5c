import test from "node:test";
import assert from "node:assert/strict";
import { dragged, gripAt } from "./waterfall_brush.js";

test("edges are taken hold of, inside pans, outside picks anew", () => {
  const zoom = { from: 200, to: 600 };
  assert.equal(gripAt(198, 1000, zoom, 1000), "from");
  assert.equal(gripAt(606, 1000, zoom, 1000), "to");
  assert.equal(gripAt(400, 1000, zoom, 1000), "pan");
  assert.equal(gripAt(800, 1000, zoom, 1000), "new");
  assert.equal(gripAt(0, 1000, { from: 0, to: 1000 }, 1000), "new", "an edge of the whole trace is none");
});

test("a drag makes a zoom inside the trace", () => {
  const zoom = { from: 200, to: 600 };
  assert.deepEqual(dragged("new", 700, 300, zoom, 1000), { from: 300, to: 700 });
  assert.deepEqual(dragged("from", 200, 900, zoom, 1000), { from: 599, to: 600 });
  assert.deepEqual(dragged("to", 600, 100, zoom, 1000), { from: 200, to: 201 });
  assert.deepEqual(dragged("pan", 400, 900, zoom, 1000), { from: 600, to: 1000 });
  assert.deepEqual(dragged("pan", 400, 100, zoom, 1000), { from: 0, to: 400 });
});
