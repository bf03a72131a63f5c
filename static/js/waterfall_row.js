// Fills the server's blank row with the values of one row, so that a row is the
// same whoever drew it.
import { duration } from "./duration.js";
import { serviceClass } from "./service.js";
import { svg } from "./svg.js";
import { href, isFolded } from "./trace_state.js";
import { barOf, ERROR, guides, MISSING, noteOf, percent } from "./waterfall_layout.js";

/**
 * @param {HTMLElement} el a copy of the blank row
 * @param {object} data the rows, decoded
 * @param {number} i the row
 * @param {{at: number, state: import("./trace_state.js").TraceState, window: {from: number, to: number}, selected: boolean, onPath: boolean, match: boolean, tabStop: boolean}} view
 */
export function fillRow(el, data, i, view) {
  const part = {};
  for (const p of el.querySelectorAll("[data-part]")) part[p.dataset.part] = p;
  const key = data.key[i];
  const depth = data.depth[i];
  const service = data.service[i] < 0 ? "" : data.services[data.service[i]];
  const name = data.names[data.name[i]];
  const missing = (data.flags[i] & MISSING) !== 0;
  const error = (data.flags[i] & ERROR) !== 0;
  const below = data.end[i] - i - 1;
  const folded = below > 0 && isFolded(view.state, key, depth);

  el.id = `r-${key}`;
  el.dataset.key = key;
  el.tabIndex = view.tabStop ? 0 : -1;
  el.setAttribute("aria-level", String(depth + 1));
  el.setAttribute("aria-rowindex", String(view.at + 2));
  el.setAttribute("aria-selected", String(view.selected));
  if (below > 0) el.setAttribute("aria-expanded", String(!folded));
  el.classList.add("Waterfall-row--virtual");
  if (service) el.classList.add(serviceClass(service));
  for (const [on, modifier] of [[error, "error"], [missing, "missing"], [view.selected, "selected"], [view.onPath, "path"], [view.match, "match"]]) {
    if (on) el.classList.add(`Waterfall-row--${modifier}`);
  }

  const lines = guides(depth);
  part.guides.setAttribute("width", String(lines.width));
  part.guides.firstElementChild.setAttribute("d", lines.path);
  part.fold.hidden = below === 0;
  if (below > 0) {
    part.fold.textContent = folded ? "▸" : "▾";
    part.fold.setAttribute("aria-label", `${folded ? "Unfold" : "Fold"} ${below === 1 ? "1 row" : `${below} rows`}`);
  }
  part.link.textContent = name;
  part.link.href = href({ ...view.state, span: key });
  part.link.tabIndex = -1;
  part.link.title = missing ? name : `${name} · ${service} · starts +${duration(data.start[i])} · ${duration(data.length[i])}`;
  const parent = data.parent[i];
  part.service.textContent = service && (parent < 0 || data.service[parent] !== data.service[i]) ? service : "";
  part.below.textContent = folded ? `+${below.toLocaleString("en")}` : "";
  const inside = folded ? data.errorsBelow[i] : 0;
  part.warn.hidden = !error && inside === 0;
  part.warn.setAttribute("aria-label", error ? "error" : inside === 1 ? "1 error inside" : `${inside} errors inside`);
  showRemarks(part.remarks, data.remarks?.[i] ?? 0);
  part.duration.textContent = missing ? "" : duration(data.length[i]);

  const { from, to } = view.window;
  const start = data.start[i];
  const end = start + data.length[i];
  const bar = barOf(start, end, from, to);
  part.body.setAttribute("x", bar.x);
  part.body.setAttribute("width", bar.width);
  const marks = [];
  if (error) marks.push(svg("rect", { class: "Waterfall-barError", x: bar.x, y: 7, width: bar.width, height: 12, rx: 2, fill: "url(#error-hatch)" }));
  if (view.onPath) marks.push(svg("rect", { class: "Waterfall-barPath", x: bar.x, y: 20.5, width: bar.width, height: 2 }));
  const critical = data.critical[i] ?? [];
  for (let c = 0; c < critical.length; c += 2) {
    const [a, b] = [Math.max(critical[c], from), Math.min(critical[c + 1], to)];
    const part = barOf(a, b, from, to);
    if (a < b) marks.push(svg("rect", { class: "Waterfall-barCritical", x: part.x, y: 3.5, width: part.width, height: 2 }));
  }
  for (const event of data.events[i] ?? []) {
    if (event.at < from || event.at > to) continue;
    const mark = svg("circle", { class: event.error ? "Waterfall-event Waterfall-event--error" : "Waterfall-event", cx: percent(event.at - from, to - from), cy: 13, r: 2.5 });
    mark.append(svg("title"));
    mark.firstElementChild.textContent = event.name;
    marks.push(mark);
  }
  part.bar.append(...marks);
  const far = data.far?.[i];
  if (far) {
    const later = far.endsWith("▸");
    const text = svg("text", { class: "Waterfall-note Waterfall-note--far", x: later ? "100%" : "0", y: 17, dx: later ? -6 : 6, "text-anchor": later ? "end" : "start" });
    text.textContent = far;
    part.notes.append(text);
    part.link.title = `${name} · ${service} · ${far.replace(/[◂▸]/g, "").trim()} · ${duration(data.length[i])}`;
  } else if (data.notes[i] && start <= to && end >= from) {
    const place = noteOf(start, end, from, to);
    const link = svg("a", { href: `/thread/${view.state.trace}?span=${key}`, "data-part": "note" });
    const text = svg("text", { class: "Waterfall-note", x: place.x, y: 17, dx: place.end ? -6 : 6, "text-anchor": place.end ? "end" : "start" });
    text.textContent = data.notes[i];
    link.append(text);
    part.notes.append(link);
  }
}

/**
 * Shows how many annotations hang on the span of a row.
 * @param {Element} mark
 * @param {number} n
 */
export function showRemarks(mark, n) {
  mark.hidden = n === 0;
  mark.textContent = String(n);
  mark.setAttribute("aria-label", n === 1 ? "1 annotation" : `${n} annotations`);
}
