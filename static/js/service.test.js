import test from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { serviceClass, serviceHue, SERVICE_HUES } from "./service.js";

// The same table is in views/service_test.go: both sides must agree.
const cases = [
  ["", 8], ["web-uk", 6], ["web-de", 7], ["größe-日本", 6], ["a", 8],
];

test("a service has one place in the ring, as the server computes it", () => {
  for (const [name, want] of cases) assert.equal(serviceHue(name), want, name);
  assert.equal(serviceClass("a"), "Service--8");
});

test("every colour of the ring stands out from both papers", () => {
  const css = readFileSync(new URL("../css/services.css", import.meta.url), "utf8");
  const colours = [...css.matchAll(/\.Service--(\d+) \{ --service: (#[0-9A-F]{6}); \}/g)];
  assert.equal(colours.length, SERVICE_HUES);
  const luminance = (hex) => {
    const [r, g, b] = [1, 3, 5].map((i) => {
      const c = parseInt(hex.slice(i, i + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  };
  colours.forEach(([, place, hex], i) => {
    assert.equal(Number(place), i);
    for (const paper of ["#FBFAF8", "#FFFFFF", "#15171A", "#1C1F24"]) {
      const got = contrast(hex, paper);
      assert.ok(got >= 3, `${hex} on ${paper}: contrast ${got.toFixed(2)}, want 3 (WCAG 1.4.11)`);
    }
  });
});
