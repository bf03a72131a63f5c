/**
 * The row to go to from a row.
 * @param {number} at -1: from none
 * @param {number} count
 * @param {1 | -1} direction
 * @returns {number} -1 if there is none
 */
export function rowAfter(at, count, direction) {
  if (count === 0) return -1;
  if (at < 0) return direction > 0 ? 0 : count - 1;
  return Math.min(Math.max(at + direction, 0), count - 1);
}
