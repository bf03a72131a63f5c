import test from "node:test";
import assert from "node:assert/strict";
import { fuzzy, rank } from "./fuzzy.js";

const best = (text, ...names) => rank(text, names.map((label) => ({ label }))).map((x) => x.label);

test("all letters have to stand in the name, in their order", () => {
  assert.equal(fuzzy("xyz", "Explore"), null);
  assert.equal(fuzzy("erolpxe", "Explore"), null);
  assert.equal(fuzzy("exploree", "Explore"), null);
  assert.deepEqual(fuzzy("expl", "Explore").at, [0, 1, 2, 3]);
  assert.deepEqual(fuzzy("", "Explore"), { score: 0, at: [] });
});

test("a beginning beats the middle, words beat letters", () => {
  assert.deepEqual(best("job", "RecalculateJob", "Jobs", "obj-job"), ["Jobs", "obj-job", "RecalculateJob"]);
  assert.equal(best("ni", "Inbox settings, in short", "New investigation")[0], "New investigation");
  assert.equal(best("qa", "equate-all", "quotes-api")[0], "quotes-api");
  assert.equal(best("pj", "PricingJob", "upper jam")[0], "PricingJob");
});

test("letters go to where the rest still fits", () => {
  for (const [text, name] of [["aab", "a-xab"], ["qp", "quotes-api-pq"], ["ss", "settings"], ["abc", "a b-c abc"], ["İ", "İstanbul"]]) {
    const fit = fuzzy(text, name);
    assert.ok(fit, `${text} in ${name}`);
    assert.ok(fit.at.every((at, i) => i === 0 || at > fit.at[i - 1]), `${text} in ${name}: ${fit.at}`);
  }
});

test("spaces do not count, and equal ones keep their order", () => {
  assert.equal(best("new inv", "New investigation").length, 1);
  assert.deepEqual(best("a", "ab", "ac"), ["ab", "ac"]);
});

test("whatever is typed, places are inside the name and go up", () => {
  let seed = 7;
  const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
  const word = (n) => Array.from({ length: random(n) }, () => "abAB -_é"[random(8)]).join("");
  for (let i = 0; i < 5000; i++) {
    const [text, name] = [word(5), word(12)];
    const fit = fuzzy(text, name);
    const letters = [...text.toLowerCase().replace(/\s+/g, "")];
    let from = 0;
    const fits = letters.every((l) => (from = name.toLowerCase().indexOf(l, from) + 1) > 0);
    assert.equal(fit !== null, fits || letters.length === 0, `${JSON.stringify(text)} in ${JSON.stringify(name)}`);
    fit?.at.forEach((at, j) => assert.ok(at < name.length && (j === 0 || at > fit.at[j - 1]) && name[at].toLowerCase() === letters[j], `${text} in ${name}: ${fit.at}`));
  }
});
