import test from "node:test";
import assert from "node:assert/strict";
import { attributeMatches } from "./trace_panel.js";

test("every word of the filter has to occur in key or value", () => {
  assert.ok(attributeMatches("http.route", "/Quotes", "route quotes"));
  assert.ok(attributeMatches("http.route", "/quotes", ""));
  assert.ok(!attributeMatches("http.route", "/quotes", "route dealers"));
});
