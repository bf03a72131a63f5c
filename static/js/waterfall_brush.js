// The brush over the minimap and the axis: drag to zoom, drag an edge to move
// it, drag inside to pan, press twice to see the whole trace.
import { svg } from "./svg.js";
import { percent } from "./waterfall_layout.js";

const GRIP = 7; // pixels around an edge that take hold of it
const CLICK = 4; // a drag shorter than this many pixels is none

/**
 * Draws what lies outside the zoom in grey, and its edges.
 * @param {SVGElement} brush
 * @param {{from: number, to: number}} window
 * @param {number} extent
 */
export function drawBrush(brush, { from, to }, extent) {
  if (from === 0 && to >= extent) {
    brush.replaceChildren();
    return;
  }
  const a = percent(from, extent);
  const b = percent(to, extent);
  brush.replaceChildren(
    svg("rect", { class: "Minimap-shade", x: 0, y: 0, width: a, height: 56 }),
    svg("rect", { class: "Minimap-shade", x: b, y: 0, width: percent(extent - to, extent), height: 56 }),
    ...[a, b].flatMap((x) => [
      svg("line", { class: "Minimap-edge", x1: x, x2: x, y1: 0, y2: 56 }),
      svg("line", { class: "Minimap-hit", x1: x, x2: x, y1: 0, y2: 56, "stroke-width": GRIP * 2, stroke: "transparent" }),
    ]),
  );
}

/**
 * What a drag that begins at a place does.
 * @param {number} at pixels from the left
 * @param {number} width
 * @param {{from: number, to: number}} window
 * @param {number} extent
 * @returns {"from" | "to" | "pan" | "new"}
 */
export function gripAt(at, width, window, extent) {
  if (window.from === 0 && window.to >= extent) return "new";
  const a = (window.from / extent) * width;
  const b = (window.to / extent) * width;
  if (Math.abs(at - a) <= GRIP) return "from";
  if (Math.abs(at - b) <= GRIP) return "to";
  return at > a && at < b ? "pan" : "new";
}

/**
 * The zoom that a drag makes, in nanoseconds.
 * @param {"from" | "to" | "pan" | "new"} grip
 * @param {number} start where the drag began, as a time
 * @param {number} now where it is
 * @param {{from: number, to: number}} window when it began
 * @param {number} extent
 * @returns {{from: number, to: number}}
 */
export function dragged(grip, start, now, window, extent) {
  if (grip === "from") return { from: Math.min(now, window.to - 1), to: window.to };
  if (grip === "to") return { from: window.from, to: Math.max(now, window.from + 1) };
  if (grip === "new") return { from: Math.min(start, now), to: Math.max(start, now) };
  const by = Math.min(Math.max(now - start, -window.from), extent - window.to);
  return { from: window.from + by, to: window.to + by };
}

/**
 * @param {{minimap: HTMLElement, brush: SVGElement, axis: SVGElement}} part
 * @param {{window: () => {from: number, to: number}, extent: () => number, zoom: (from: number, to: number) => void, reset: () => void}} owner
 * @param {AbortSignal} signal
 */
export function listenToBrush(part, owner, signal) {
  const whole = () => ({ from: 0, to: owner.extent() });
  dragOn(part.minimap, part.brush, whole, true);
  dragOn(part.axis.parentElement, part.brush, owner.window, false);
  part.minimap.addEventListener("dblclick", () => owner.reset(), { signal });

  // shown is the stretch of time that the surface spans.
  function dragOn(surface, brush, shown, grips) {
    let drag = null;
    const timeAt = (e) => {
      const box = surface.getBoundingClientRect();
      const { from, to } = shown();
      const part = Math.min(Math.max((e.clientX - box.left) / box.width, 0), 1);
      return { time: from + part * (to - from), pixel: e.clientX - box.left, width: box.width };
    };
    surface.addEventListener("pointerdown", (e) => {
      if (e.button !== 0) return;
      const at = timeAt(e);
      const grip = grips ? gripAt(at.pixel, at.width, owner.window(), owner.extent()) : "new";
      drag = { grip, start: at.time, pixel: at.pixel, window: owner.window(), moved: false };
      surface.setPointerCapture(e.pointerId);
    }, { signal });
    surface.addEventListener("pointermove", (e) => {
      if (!drag) return;
      const at = timeAt(e);
      if (!drag.moved && Math.abs(at.pixel - drag.pixel) < CLICK) return;
      drag.moved = true;
      drag.next = dragged(drag.grip, drag.start, at.time, drag.window, owner.extent());
      if (drag.grip === "new") pick(brush, drag.next, owner.extent());
      else owner.zoom(drag.next.from, drag.next.to);
    }, { signal });
    const end = () => {
      const done = drag;
      drag = null;
      if (!done?.next) return;
      if (done.grip === "new") owner.zoom(done.next.from, done.next.to);
    };
    surface.addEventListener("pointerup", end, { signal });
    surface.addEventListener("pointercancel", () => {
      if (drag?.next) owner.zoom(drag.window.from, drag.window.to);
      drag = null;
    }, { signal });
  }
}

// Shows what is being picked.
function pick(brush, { from, to }, extent) {
  brush.querySelector(".Minimap-pick")?.remove();
  brush.append(svg("rect", { class: "Minimap-pick", x: percent(from, extent), y: 0, width: percent(to - from, extent), height: 56 }));
}
