// How the palette lists what fits, without a document.

/** The headings, by kind, in their order. */
export const sections = {
  trace: "Ids", span: "Ids", request: "Ids", message: "Ids", user: "Ids", session: "Ids", id: "Ids", value: "Ids",
  recent: "Lately here",
  action: "On this page",
  screen: "Go to",
  investigation: "Investigations",
  service: "Services",
  topic: "Topics",
  queue: "Queues",
  job: "Jobs",
  person: "People",
  find: "Find",
};

const mostOfKind = 8;

/**
 * Where what was chosen stands in another list; the first is nobody's choice.
 * @template {{kind: string, label: string, url?: string}} T
 * @param {T[]} before
 * @param {number} at the place in before
 * @param {T[]} now
 * @returns {number} 0 if it is gone
 */
export function placeOf(before, at, now) {
  const it = before[at];
  if (at === 0 || !it) return 0;
  return Math.max(now.findIndex((n) => n.kind === it.kind && n.label === it.label && n.url === it.url), 0);
}

/**
 * What is listed, together by heading: without a text in the order of the headings,
 * with one the heading of the best comes first. Each address is named once.
 * @template {{kind: string, label: string, url?: string}} T
 * @param {string} text
 * @param {T[]} items
 * @param {(items: T[]) => T[]} rank the best first, without what does not fit; ids fit always
 * @returns {T[]}
 */
export function ordered(text, items, rank) {
  const known = new Set();
  const once = items.filter((it) => {
    if (!it.url) return true;
    if (known.has(it.url)) return false;
    known.add(it.url);
    return true;
  });
  const ids = once.filter((it) => sections[it.kind] === "Ids");
  const rest = once.filter((it) => sections[it.kind] !== "Ids");
  const order = Object.values(sections);
  const fits = text ? rank(rest) : rest.slice().sort((a, b) => order.indexOf(sections[a.kind]) - order.indexOf(sections[b.kind]));
  const groups = new Map();
  for (const it of [...ids, ...fits]) {
    const name = sections[it.kind] ?? sections.find;
    const group = groups.get(name) ?? [];
    groups.set(name, group);
    if (group.length < (text || it.kind !== "screen" ? mostOfKind : 40)) group.push(it);
  }
  return [...groups.values()].flat();
}
