// Where a dragged block goes: no document here.

/**
 * The block behind which a block stands after it was dropped.
 * @param {string[]} ids of all blocks, from above
 * @param {string} moved
 * @param {string} target the block it was dropped on
 * @param {boolean} behind on its lower half
 * @returns {string | undefined} "" for the begin, undefined if it stays where it is
 */
export function dropPlace(ids, moved, target, behind) {
  const rest = ids.filter((id) => id !== moved);
  const at = rest.indexOf(target);
  if (at < 0 || moved === target || !ids.includes(moved)) return undefined;
  const after = behind ? target : (rest[at - 1] ?? "");
  const now = ids[ids.indexOf(moved) - 1] ?? "";
  return after === now ? undefined : after;
}
