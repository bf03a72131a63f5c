/** Places on a heatmap, in fractions from the lower left corner. Without the DOM. */

/**
 * @typedef {{from: number, to: number, start: number, step: number, rows: [number, number][]}} Heat
 * @typedef {{x: number, y: number}} Place
 */

/**
 * The cell at a place, undefined if there is none.
 * @param {Heat} heat
 * @param {Place} at
 */
export function cellAt(heat, at) {
  const row = Math.min(Math.floor(at.y * heat.rows.length), heat.rows.length - 1);
  if (row < 0) return undefined;
  const moment = heat.from + at.x * (heat.to - heat.from);
  const bucket = Math.floor((moment - heat.start) / heat.step);
  const from = heat.start + bucket * heat.step;
  return { bucket, row, from, to: from + heat.step, min: heat.rows[row][0], max: heat.rows[row][1] };
}

/**
 * The whole bands and buckets between two places: what is selected, and the
 * corners of the box that shows it.
 * @param {Heat} heat
 * @param {Place} a
 * @param {Place} b
 */
export function bands(heat, a, b) {
  const first = cellAt(heat, { x: Math.min(a.x, b.x), y: Math.min(a.y, b.y) });
  const last = cellAt(heat, { x: Math.max(a.x, b.x), y: Math.max(a.y, b.y) });
  const from = Math.max(first.from, heat.from);
  const to = Math.min(last.to, heat.to);
  const place = (moment) => (moment - heat.from) / (heat.to - heat.from);
  return {
    selection: { from, to, min: first.min, max: last.max },
    low: { x: place(from), y: first.row / heat.rows.length },
    high: { x: place(to), y: (last.row + 1) / heat.rows.length },
  };
}
