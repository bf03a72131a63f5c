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

/**
 * Keeps where one is.
 * @param {Storage} store
 * @param {string} path with the query
 * @param {string} title
 */
export function visit(store, path, title) {
  const board = /^\/i\/[^/?]+/.exec(path)?.[0];
  if (!board && !/^\/(t|thread|services|messages|queues|jobs)\/.|^\/explore\?./.test(path)) return; // the others are a key away
  const place = board ? { path: board, title: "" } : { path, title: titleOf(title) };
  const rest = recent(store).filter((p) => p.path !== place.path && (board || p.path.split("?")[0] !== path.split("?")[0]));
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
