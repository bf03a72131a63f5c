// What is said of people who are here: no document here.

/**
 * Where somebody is, by the addresses of their windows, the newest first;
 * handlers/investigation.go does the same.
 * @param {string[]} pages
 * @returns {string}
 */
export function whereWords(pages) {
  const [, first] = (pages[0] ?? "").split(/[/?]/);
  return wheres.get(first) ?? "elsewhere";
}

const wheres = new Map([
  ["", "at home"], ["i", "on the board"], ["t", "in a trace"], ["thread", "in a thread"], ["explore", "in Explore"], ["ripples", "in Ripples"],
  ["services", "in Services"], ["service-map", "in Services"], ["messages", "in Messages"], ["queues", "in Queues"], ["jobs", "in Jobs"],
  ["investigations", "in the list of investigations"],
]);

/**
 * Two letters for an avatar.
 * @param {string} name
 * @returns {string}
 */
export function initials(name) {
  const parts = name.split(/[ ._@-]+/).filter(Boolean);
  return parts.slice(0, 2).map((p) => [...p][0].toUpperCase()).join("") || "?";
}

/**
 * What a cursor says that its person does, "" if it says only where they look.
 * @param {{field: string, typing: boolean}} cursor
 * @returns {string}
 */
export function typingWords(cursor) {
  if (!cursor?.typing) return "";
  const words = new Map([["title", "is changing the title"], ["annotation", "is writing a comment"], ["note", "is writing a note"]]);
  return words.get(cursor.field) ?? "is typing";
}

/**
 * The names of some people in one line.
 * @param {{name: string}[]} people
 * @returns {string} "Ann", "Ann and Bo", "Ann, Bo and 3 others"
 */
export function names(people) {
  const list = people.map((p) => p.name);
  if (list.length < 3) return list.join(" and ");
  return `${list[0]}, ${list[1]} and ${list.length === 3 ? "1 other" : `${list.length - 2} others`}`;
}
