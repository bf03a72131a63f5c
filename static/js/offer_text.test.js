import assert from "node:assert/strict";
import test from "node:test";
import { nameable } from "./offer_text.js";
import { looksLikeMarkdown } from "./preview.js";

test("nameable", () => {
  for (const text of ["5b8aa5a2d2c872e8321cf37308d69df2", "5B8AA5A2D2C872E8", "5b8aa5a2d2c872e8321cf37308d69df2:00f067aa0ba902b7", "https://x.example/t/1?a=b#c", "/t/5b8aa5a2d2c872e8", "/explore?v=COUNT", "/services/quotes-api", "/i/i_01m84f74w8", "7d3bfa1c-0f62-4b63-9b0e-5a6f1c2d3e4f"]) {
    assert.ok(nameable(text), text);
  }
  for (const text of ["", "deadbeef", "look at this", "5b8aa5a2d2c872e8321cf37308d69df2 is slow", "/settings", "javascript:alert(1)", "x".repeat(9000)]) {
    assert.ok(!nameable(text), text);
  }
});

test("looksLikeMarkdown", () => {
  for (const text of ["**bold**", "a `code`", "- one\n- two", "1. one", "# head", "see https://x.example", "| a | b |"]) assert.ok(looksLikeMarkdown(text), text);
  for (const text of ["", "plain words, and more", "half-done: 3.5 s - why?"]) assert.ok(!looksLikeMarkdown(text), text);
});
