import assert from "node:assert/strict";
import test from "node:test";
import { asUTC, localTime, utcTime } from "./local_fields.js";

test("a time goes to the reader's zone and back", () => {
  for (const utc of ["2026-01-22T14:03:00", "2026-07-22T23:59:59", "2026-03-29T00:30:00"]) assert.equal(utcTime(localTime(new Date(`${utc}Z`))), utc);
  assert.equal(utcTime(""), "");
  assert.equal(asUTC({ dataset: {}, value: "2026-01-22T14:03" }), "2026-01-22T14:03");
  for (const came of ["2026-10-25T00:30:00", "2026-10-25T01:30:00"]) {
    const value = localTime(new Date(`${came}Z`)).replace(/:00$/, ""); // as a browser says it
    assert.equal(asUTC({ dataset: { local: came }, value }), came, "an hour that comes twice");
  }
  assert.equal(asUTC({ dataset: { local: "2026-01-22T14:03:00" }, value: "" }), "");
  assert.equal(asUTC({ dataset: { local: "" }, value: localTime(new Date("2026-01-22T14:03:05Z")) }), "2026-01-22T14:03:05");
});
