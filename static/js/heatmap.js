import { number, span, value } from "./chart_format.js";
import { bands, cellAt } from "./heatmap_select.js";
import { place } from "./chart_lines.js";

/**
 * Makes the server's heatmap answer to the pointer: it names the cell, and a
 * dragged box selects a stretch of time and values.
 */
export function mount(figure) {
  const plot = figure.querySelector('[data-part="plot"]');
  const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  const counts = new Map(data.cells.map(([bucket, row, count]) => [`${bucket}:${row}`, count]));
  const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  box.setAttribute("class", "Chart-brush");
  const tip = document.createElement("div");
  tip.className = "Chart-tip";
  tip.hidden = true;
  figure.append(tip);
  const { width, height } = plot.viewBox.baseVal;
  let start = null;

  const fraction = (e) => {
    const r = plot.getBoundingClientRect();
    const within = (v) => Math.min(Math.max(v, 0), 1);
    return { x: within((e.clientX - r.left) / r.width), y: within(1 - (e.clientY - r.top) / r.height) };
  };
  const point = (e) => {
    const p = fraction(e);
    if (start) {
      draw(box, start, p, width, height);
      return;
    }
    const cell = cellAt(data, p);
    const count = cell ? counts.get(`${cell.bucket}:${cell.row}`) : undefined;
    if (!count) {
      tip.hidden = true;
      return;
    }
    const lines = [
      [span(cell.from, cell.to), "Chart-tipTime"],
      [`${value(cell.min, data.unit)} – ${value(cell.max, data.unit)}`, ""],
      [`${number(count)} ${count === 1 ? "row" : "rows"}`, ""],
    ];
    tip.replaceChildren(...lines.map(([text, name]) => Object.assign(document.createElement("div"), { textContent: text, className: name })));
    tip.hidden = false;
    const r = plot.getBoundingClientRect();
    place(figure, tip, plot, e.clientX - r.left, e.clientY - r.top);
  };
  const down = (e) => {
    if (e.button !== 0) return;
    start = fraction(e);
    plot.setPointerCapture(e.pointerId);
    tip.hidden = true;
    box.remove();
  };
  const up = (e) => {
    if (!start) return;
    const [a, b] = [start, fraction(e)];
    start = null;
    const r = plot.getBoundingClientRect();
    if (Math.abs(a.x - b.x) * r.width < 4) {
      box.remove();
      return;
    }
    const picked = bands(data, a, b);
    draw(box, picked.low, picked.high, width, height);
    figure.dispatchEvent(new CustomEvent("chart:select", { bubbles: true, detail: { ...picked.selection, column: data.column } }));
  };
  const leave = () => { tip.hidden = true; };
  const cancel = () => {
    start = null;
    box.remove();
  };

  const draw = (rect, a, b, w, h) => {
    rect.setAttribute("x", Math.min(a.x, b.x) * w);
    rect.setAttribute("width", Math.abs(a.x - b.x) * w);
    rect.setAttribute("y", (1 - Math.max(a.y, b.y)) * h);
    rect.setAttribute("height", Math.abs(a.y - b.y) * h);
    if (!rect.isConnected) plot.append(rect);
  };
  const listeners = { pointermove: point, pointerdown: down, pointerup: up, pointerleave: leave, pointercancel: cancel };
  for (const [name, fn] of Object.entries(listeners)) plot.addEventListener(name, fn);
  figure.addEventListener("chart:clear", cancel);
  return () => {
    for (const [name, fn] of Object.entries(listeners)) plot.removeEventListener(name, fn);
    figure.removeEventListener("chart:clear", cancel);
    box.remove();
    tip.remove();
  };
}
