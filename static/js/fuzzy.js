/**
 * How well a name fits what somebody types: all letters have to stand in it, in
 * their order. Letters at the beginning of a word and letters in a row are worth
 * more, and so are short names. Spaces do not count.
 * @param {string} text
 * @param {string} name
 * @returns {{score: number, at: number[]} | null} at: where the letters stand; null: it does not fit
 */
export function fuzzy(text, name) {
  const want = [...text.toLowerCase().replace(/\s+/g, "")];
  const have = name.toLowerCase();
  if (want.length === 0) return { score: 0, at: [] };
  const whole = have.indexOf(want.join(""));
  if (whole >= 0) return { score: 1000 + (begins(name, whole) ? 500 : 0) + (whole === 0 ? 300 : 0) - name.length, at: run(whole, want.length) };
  const at = place(want, have, name);
  if (at === null) return null;
  let score = 0;
  for (let i = 0; i < at.length; i++) {
    score += begins(name, at[i]) ? 30 : 0;
    score += i > 0 && at[i] === at[i - 1] + want[i - 1].length ? 15 : 0;
  }
  return { score: score - name.length - at[0], at };
}

// Letters go to the beginning of a word where the rest still fits behind it, else
// to the first place.
function place(want, have, name) {
  const last = []; // the latest place of each letter, so that what follows fits
  for (let i = want.length - 1, end = have.length; i >= 0; i--) {
    end = end > 0 ? have.lastIndexOf(want[i], end - 1) : -1;
    if (end < 0) return null;
    last[i] = end;
  }
  const at = [];
  for (let i = 0, from = 0; i < want.length; i++) {
    let here = have.indexOf(want[i], from);
    if (i === 0 || here !== from) {
      for (let p = here; p >= 0 && p <= last[i]; p = have.indexOf(want[i], p + 1)) {
        if (begins(name, p)) {
          here = p;
          break;
        }
      }
    }
    at.push(here);
    from = here + want[i].length;
  }
  return at;
}

function begins(name, i) {
  if (i === 0) return true;
  const before = name[i - 1];
  return /[^\p{L}\p{N}]/u.test(before) || (/\p{Ll}/u.test(before) && /\p{Lu}/u.test(name[i]));
}

function run(from, length) {
  return Array.from({ length }, (_, i) => from + i);
}

/**
 * The items that fit, the best first, each with where its letters stand. Equal ones
 * stay in their order.
 * @template {{label: string}} T
 * @param {string} text
 * @param {T[]} items
 * @returns {(T & {at: number[]})[]}
 */
export function rank(text, items) {
  return items
    .map((item, i) => ({ item, i, fit: fuzzy(text, item.label) }))
    .filter((x) => x.fit)
    .sort((a, b) => b.fit.score - a.fit.score || a.i - b.i)
    .map((x) => ({ ...x.item, at: x.fit.at }));
}
