// The time axis of a chart as the server draws it, in UTC: here the browser's zone is
// known, and named at its end.
import { tick } from "./chart_format.js";
import { zone } from "./time.js";

/** @param {SVGElement} axis */
export function mount(axis) {
  const labels = [...axis.querySelectorAll("[data-milli]")];
  if (labels.length === 0) return;
  const at = labels.map((l) => Number(l.dataset.milli));
  const step = at.length > 1 ? at[1] - at[0] : 60_000;
  for (const [i, l] of labels.entries()) l.textContent = tick(at[i], step, Number(axis.dataset.length));
  axis.querySelector(".Chart-zone").textContent = zone(new Date(at[0]));
}
