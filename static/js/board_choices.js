// What the forms of a board offer depends on the blocks that stand on it, which
// come and go while the page is open: hypotheses to cite for, pins to compare.

import { touched } from "./board_swap.js";

/**
 * Brings the choices up to date; called after each drawing of the board.
 * @param {HTMLElement} el
 */
export function refreshChoices(el) {
  const titled = (kinds) =>
    [...el.querySelectorAll("[data-block]")]
      .filter((b) => kinds.includes(b.dataset.kind))
      .map((b) => ({ value: b.dataset.block, label: b.querySelector(".Block-title")?.textContent.trim() || b.dataset.kind, kind: b.dataset.kind }));
  const hypotheses = titled(["hypothesis"]);
  const pins = titled(["span", "trace", "thread", "query"]).map((p) => ({ value: p.value, label: `${p.kind}: ${p.label}` }));
  for (const details of el.querySelectorAll(".Block-cite")) {
    details.hidden = hypotheses.length === 0;
    const select = details.querySelector("select");
    if (select) fill(select, hypotheses); // else it is not drawn yet
  }
  const compare = el.querySelector('[data-key="compose-comparison"]');
  if (compare) {
    compare.hidden = pins.length < 2;
    [...compare.querySelectorAll("select")].forEach((s, i) => fill(s, pins, i));
  }
  const views = el.querySelector(".Board-views");
  if (views) views.hidden = hypotheses.length === 0 && !el.querySelector('[data-part="lanes"]');
}

/** Fills a select, keeping what is chosen: of those that stand beside each other, by whoever chose. What is there already stays, with what the server says of it. */
function fill(select, options, first = 0) {
  const have = new Map([...select.options].map((o) => [o.value, o]));
  const same = options.length === have.size && options.every((o) => have.has(o.value));
  if (same) return;
  const chosen = have.size > 0 && (first === 0 || touched(select)) ? select.value : undefined;
  select.replaceChildren(
    ...options.map((o) => {
      const option = have.get(o.value) ?? document.createElement("option");
      if (!have.has(o.value)) {
        option.value = o.value;
        option.textContent = o.label;
      }
      return option;
    }),
  );
  if (options.some((o) => o.value === chosen)) {
    select.value = chosen;
    return;
  }
  select.value = options[first]?.value ?? "";
  for (const o of select.options) o.defaultSelected = o.selected; // as it is drawn
}
