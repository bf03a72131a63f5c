// What the registry of keys holds, without a document.

/**
 * @typedef {object} Binding
 * @property {string} key as KeyboardEvent.key has it, or "g h" for two in a row, or "" for an action without a key
 * @property {string} does in the list of keys
 * @property {(e?: KeyboardEvent) => void} [run]
 * @property {() => boolean} [when] whether it works just now; without it always
 * @property {boolean} [listed] it is only listed: something else hears it
 * @property {boolean} [waits] it is about what is selected, and waits while that is fetched
 * @property {string[]} [shown] how the list writes it, if not as it is
 * @property {string} [action] its name in the palette; without it the palette leaves it out
 */

/** @returns {string} the name of two keys in a row */
export const chordKey = (first, second) => `${first} ${second}`;

/**
 * What works now, each key once: of one owner's the last, of several owners' the
 * first.
 * @param {{owner: string, list: Binding[]}[]} bound
 * @returns {Binding[]}
 */
export function activeKeys(bound) {
  const byKey = new Map();
  const rest = [];
  for (const { owner, list } of bound) {
    for (const b of list) {
      if (b.when && !b.when()) continue;
      const was = byKey.get(b.key);
      if (b.key === "") rest.push(b);
      else if (!was || was.owner === owner) byKey.set(b.key, { owner, b });
    }
  }
  return [...byKey.values()].map((x) => x.b).concat(rest);
}

/**
 * The keys that two owners claim at once.
 * @param {{owner: string, list: Binding[]}[]} bound
 * @returns {string[]}
 */
export function conflictsOf(bound) {
  const owners = new Map();
  const bad = new Set();
  for (const { owner, list } of bound) {
    for (const b of list) {
      if (b.key === "" || b.when && !b.when()) continue;
      const was = owners.get(b.key);
      if (was !== undefined && was !== owner) bad.add(`${b.key} (${was}, ${owner})`);
      owners.set(b.key, was ?? owner);
      if (b.key === "g") bad.add(`g (${owner}): it begins the keys that go somewhere`);
    }
  }
  return [...bad];
}
