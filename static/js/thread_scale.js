// Times and steps of the page of a thread, apart from the DOM.

/**
 * The bar to go to from another, or from none (-1).
 * @param {number} at
 * @param {number} by 1 or -1
 * @param {number} count
 * @returns {number} -1 if there are no bars
 */
export function stepBar(at, by, count) {
  if (count === 0) return -1;
  if (at < 0) return by > 0 ? 0 : count - 1;
  return Math.min(Math.max(at + by, 0), count - 1);
}

/**
 * The time at a place of a map whose scale leaves out idle time.
 * @param {[number, number, number, number][]} scale from, to, x and width of each piece; times in nanoseconds from the start
 * @param {number} x percent of the width; before the first piece and after the last its slope goes on
 * @returns {number}
 */
export function timeAt(scale, x) {
  const piece = scale.find(([, , at, width]) => x <= at + width) ?? scale.at(-1);
  const [from, to, at, width] = piece;
  return Math.round(from + ((x - at) / (width || 1)) * (to - from));
}

/**
 * An address of the same page with another zoom.
 * @param {string} address
 * @param {number} from
 * @param {number} to
 * @returns {string}
 */
export function zoomed(address, from, to) {
  const [path, query = ""] = address.split("?");
  const kept = query.split("&").filter((p) => p && !p.startsWith("zoom="));
  return `${path}?${[...kept, `zoom=${Math.round(from)}~${Math.round(to)}`].join("&")}`;
}
