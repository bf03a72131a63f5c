// What this browser keeps is of one person: in a tab what was half written and whom
// one followed, in all of them the places shown lately. Whoever comes next, after
// somebody signed out or after a session ended by itself, finds none of it.
import { forget } from "./palette_recent.js";

const key = "redthread:whose";

/**
 * Forgets what another person left.
 * @param {string | undefined} me the id of who is signed in, if anybody is
 * @param {Storage} local
 * @param {Storage} session
 */
export function belongTo(me, local, session) {
  if (!me) return;
  if (session.getItem(key) !== me) session.clear();
  if (local.getItem(key) !== me) forget(local);
  try {
    for (const store of [session, local]) store.setItem(key, me);
  } catch {
    // The browser keeps nothing: then nobody finds anything.
  }
}

/**
 * Forgets it all, for somebody signs out.
 * @param {Storage} local
 * @param {Storage} session
 */
export function leave(local, session) {
  forget(local);
  session.clear();
}
