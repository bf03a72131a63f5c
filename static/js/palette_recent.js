// The places that this browser showed lately. Of an investigation only its id is
// kept: the server names it to whoever may still see it.
const key = "redthread:places";
const most = 10;

/**
 * @param {Storage} store
 * @returns {{path: string, title: string}[]} the newest first
 */
export function recent(store) {
  try {
    const list = JSON.parse(store.getItem(key) ?? "[]");
    return Array.isArray(list) ? list.filter((p) => typeof p?.path === "string" && p.path.startsWith("/") && typeof p.title === "string").slice(0, most) : [];
  } catch {
    return [];
  }
}

/** @returns {string} the name of a page by the title of its document */
export const titleOf = (title) => title.replace(/ · redthread$/, "");

// What a place is about: a trace is one place, whatever of it was shown; each
// question to Explore is one of its own.
const subject = (path) => (path.startsWith("/explore") ? path : path.split("?")[0].split("/").slice(0, 3).join("/"));

/** @returns {string} a question to Explore in words */
export function questionOf(path) {
  const q = new URLSearchParams(path.slice(path.indexOf("?")));
  const clause = (name, word, between) => (q.has(name) ? `${word}${q.getAll(name).join(between)}` : "");
  return [clause("v", "", ", ") || "COUNT", clause("w", "where ", " and "), clause("g", "by ", ", ")].filter(Boolean).join(" ");
}

/**
 * Keeps where one is.
 * @param {Storage} store
 * @param {string} path with the query
 * @param {string} title
 */
export function visit(store, path, title) {
  const board = /^\/i\/[^/?]+/.exec(path)?.[0];
  if (!board && !/^\/(t|thread|services|messages|queues|jobs)\/.|^\/explore\?./.test(path)) return; // the others are a key away
  const place = board ? { path: board, title: "" } : { path, title: path.startsWith("/explore") ? questionOf(path) : titleOf(title) };
  const rest = recent(store).filter((p) => subject(p.path) !== subject(place.path));
  try {
    store.setItem(key, JSON.stringify([place, ...rest].slice(0, most)));
  } catch {
    // The browser keeps nothing: then there are no recent places.
  }
}

/**
 * Forgets them all: whoever signs in next is somebody else.
 * @param {Storage} store
 */
export function forget(store) {
  store.removeItem(key);
}
