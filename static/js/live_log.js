// What to do with the messages of an investigation's log: no document here.
import { serverTypes } from "./live_messages.js";

const firstDelay = 300; // ms
const longestDelay = 10_000;

/**
 * How long to wait before the n-th try (0: the first): twice as long each time,
 * the half of it by chance, so that not all come back at once.
 * @param {number} n
 * @param {() => number} [random]
 * @returns {number} ms
 */
export function backoff(n, random = Math.random) {
  const full = Math.min(firstDelay * 2 ** n, longestDelay);
  return full / 2 + (full / 2) * random();
}

/**
 * What to do with a message, given the last offset taken.
 * @param {{type: string, offset?: number}} message
 * @param {number} last
 * @returns {"skip" | "gap" | "take" | "other"}
 */
export function judge(message, last) {
  if (!serverTypes.includes(message.type)) return "skip";
  if (message.type === "hello" || message.type === "ack" || typeof message.offset !== "number") return "other";
  if (message.offset <= last) return "skip";
  return message.offset === last + 1 ? "take" : "gap";
}

/**
 * What a change makes stale.
 * @param {{type: string, id: string}} change
 * @returns {{head?: boolean, block?: string, gone?: string, notes?: boolean, annotation?: string, deleted?: boolean, words?: boolean}}
 */
export function stale(change) {
  const [noun, verb] = change.type.split(".");
  if (noun === "investigation") return verb === "deleted" ? { deleted: true } : { head: true };
  const words = verb === "deleted"; // the timeline told of it before
  if (noun === "entry") return { words: true };
  if (noun === "annotation") return { annotation: change.id, notes: true, words };
  return words ? { gone: change.id, words } : { block: change.id };
}
