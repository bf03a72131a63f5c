// The waterfall: draws only the rows in view, zooms, folds, searches, selects.
// It owns the state of the page (trace_state.js) and keeps the address true.
// Selecting a row sends "trace:select" from the element, for the panel; the
// panel sends "trace:fields" when its filter changes.
import { toast } from "./toast.js";
import { bind } from "./keys.js";
import { duration } from "./duration.js";
import { letGo } from "./press.js";
import { drawBrush, listenToBrush } from "./waterfall_brush.js";
import { fillRow, showRemarks } from "./waterfall_row.js";
import { svg } from "./svg.js";
import { href, isFolded, openedTo, parseState, toggled, visibleRows } from "./trace_state.js";
import { clampZoom, decodeRows, ERROR, nextOf, rowsInView, timeTicks, zoomTo } from "./waterfall_layout.js";

const SEARCH_DELAY = 150; // milliseconds after the last key press

/**
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  const stop = new AbortController();
  const start = (data) => {
    if (!stop.signal.aborted) new Waterfall(el, decodeRows(data), stop.signal);
  };
  const inline = document.getElementById("waterfall-data");
  if (inline) start(JSON.parse(inline.textContent));
  else fetchJSON(el.dataset.rows + location.search, stop.signal).then((data) => letGo().then(() => start(data))).catch((err) => failed(err, stop.signal));
  return () => stop.abort();
}

async function fetchJSON(url, signal) {
  const answer = await fetch(url, { signal, headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

function failed(err, signal) {
  if (signal.aborted) return;
  console.error("redthread: waterfall", err);
  toast("Part of the trace could not be loaded. What is shown still works; reload to try again.", "warn");
}

class Waterfall {
  /**
   * @param {HTMLElement} el
   * @param {object} data the rows, decoded
   * @param {AbortSignal} signal ends it
   */
  constructor(el, data, signal) {
    this.el = el;
    this.take(data);
    this.signal = signal;
    this.part = {};
    for (const part of el.querySelectorAll("[data-part]")) this.part[part.dataset.part] ??= part;
    this.state = parseState(location.pathname + location.search);
    this.matches = data.matches;
    this.selected = data.index.get(this.state.span) ?? -1;
    if (this.selected >= 0) this.state = openedTo(this.state, data, this.selected);
    this.drawn = new Map(); // row → element
    this.takeOver();
    this.listen();
  }

  take(data) {
    this.data = data;
    this.errors = [];
    data.flags.forEach((flags, i) => flags & ERROR && this.errors.push(i));
  }

  // The server's rows make way for those drawn here, at the same place.
  takeOver() {
    const { scroll, rows } = this.part;
    const before = scroll.scrollTop;
    const focused = rows.contains(document.activeElement) ? document.activeElement.closest('[role="row"]')?.dataset.key : undefined;
    for (const more of this.el.querySelectorAll('[data-part="more"]')) more.remove();
    rows.replaceChildren();
    this.refold();
    scroll.scrollTop = before;
    if (this.selected >= 0) this.reveal(this.selected, "center");
    this.draw();
    this.drawn.get(this.data.index.get(focused))?.focus({ preventScroll: true });
  }

  // What follows from folds: which rows there are.
  refold() {
    this.visible = visibleRows(this.state, this.data);
    this.place = new Map(this.visible.map((row, at) => [row, at]));
    this.path = new Set();
    for (let i = this.selected; i >= 0; i = this.data.parent[i]) this.path.add(i);
    this.measure();
    this.part.scroll.setAttribute("aria-rowcount", String(this.visible.length + 1));
    for (const link of this.el.querySelectorAll('[data-part="levels"]')) {
      const current = Number(link.dataset.levels) === this.state.levels && this.state.fold.length === 0 && this.state.open.length === 0;
      if (current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    this.discard();
  }

  measure() {
    this.rowHeight = parseFloat(getComputedStyle(this.el).getPropertyValue("--row")) || 26;
    this.top = this.part.head.offsetHeight;
    this.part.rows.style.height = `${this.visible.length * this.rowHeight}px`;
  }

  discard() {
    const focused = this.part.rows.contains(document.activeElement);
    for (const row of this.drawn.values()) row.remove();
    this.drawn.clear();
    this.refocus = focused;
  }

  get window() {
    const { from, to } = this.state;
    const extent = this.data.extent;
    return to > 0 && from < extent ? { from, to: Math.min(to, extent) } : { from: 0, to: extent };
  }

  // Draws rows in view and everything beside them, and writes the address.
  draw() {
    const { scroll, rows } = this.part;
    const { first, last } = rowsInView(scroll.scrollTop - this.top, scroll.clientHeight, this.rowHeight, this.visible.length);
    const matched = new Set(this.matches);
    const wanted = new Set(this.visible.slice(first, last));
    for (const [i, row] of this.drawn) {
      if (wanted.has(i)) continue;
      if (row.contains(document.activeElement)) this.refocus = false;
      row.remove();
      this.drawn.delete(i);
    }
    let after = null;
    for (let at = first; at < last; at++) {
      const i = this.visible[at];
      let row = this.drawn.get(i);
      if (!row) {
        row = this.part.row.content.firstElementChild.cloneNode(true);
        row.style.transform = `translateY(${at * this.rowHeight}px)`;
        fillRow(row, this.data, i, {
          at, state: this.state, window: this.window, selected: i === this.selected, onPath: this.path.has(i), match: matched.has(i),
          tabStop: i === (this.selected >= 0 ? this.selected : this.visible[0]),
        });
        if (after) after.after(row);
        else rows.prepend(row);
        this.drawn.set(i, row);
      }
      after = row;
    }
    if (this.refocus) {
      this.refocus = false;
      this.drawn.get(this.selected)?.focus({ preventScroll: true });
    }
    this.part.none.hidden = this.visible.length > 0;
  }

  // Takes how many annotations each span has, by its key.
  countRemarks(counts) {
    const { data } = this;
    data.remarks = {};
    for (const [key, n] of counts) {
      const i = data.index.get(key);
      if (i !== undefined) data.remarks[i] = n;
    }
    for (const [i, row] of this.drawn) showRemarks(row.querySelector('[data-part="remarks"]'), data.remarks[i] ?? 0);
  }

  // Redraws after zoom, selection or search have changed.
  redraw() {
    this.discard();
    this.draw();
    this.drawAxis();
    this.drawSearch();
    drawBrush(this.part.brush, this.window, this.data.extent);
    history.replaceState(history.state, "", href(this.state));
  }

  drawAxis() {
    const { from, to } = this.window;
    const ticks = timeTicks(from, to);
    this.part.grid.replaceChildren(...ticks.map((t) => svg("line", { class: "Waterfall-gridLine", x1: t.x, x2: t.x, y1: 0, y2: "100%" })));
    this.part.axis.replaceChildren(...ticks.flatMap((t) => {
      const line = svg("line", { class: "Waterfall-tick", x1: t.x, x2: t.x, y1: 14, y2: 22 });
      const text = svg("text", { class: "Waterfall-tickText", x: t.x, dx: t.last ? -4 : 3, y: 11, "text-anchor": t.last ? "end" : "start" });
      text.textContent = t.text;
      return [line, text];
    }));
    this.part.zoom.hidden = from === 0 && to === this.data.extent;
    this.part["zoom-text"].textContent = `${duration(from)} to ${duration(to)}`;
  }

  drawSearch() {
    const at = this.matches.indexOf(this.selected);
    const n = this.matches.length;
    const words = n === 1 ? "1 match" : `${n} matches`;
    this.part.matches.textContent = this.state.search ? (at >= 0 ? `${at + 1} of ${words}` : words) : "";
    this.part["prev-match"].hidden = this.part["next-match"].hidden = n === 0;
  }

  drawPath() {
    const lead = this.part["minimap-path"];
    if (this.selected < 0) {
      lead.replaceChildren();
      return;
    }
    const height = lead.ownerSVGElement.viewBox.baseVal.height;
    const x = (this.data.start[this.selected] / this.data.extent) * 1000;
    const width = Math.max((this.data.length[this.selected] / this.data.extent) * 1000, 2);
    lead.replaceChildren(
      svg("rect", { class: "Minimap-lead", x: 0, y: height - 2, width: x, height: 1 }),
      svg("rect", { class: "Minimap-path", x, y: height - 3, width, height: 3 }),
    );
  }

  // Brings a row into view: nearest, or in the middle if it is not in view.
  reveal(i, where = "nearest") {
    const { scroll } = this.part;
    const top = this.place.get(i) * this.rowHeight;
    const view = scroll.clientHeight - this.top;
    if (top >= scroll.scrollTop && top + this.rowHeight <= scroll.scrollTop + view) return;
    if (where === "center") scroll.scrollTop = top - view / 2;
    else if (top < scroll.scrollTop) scroll.scrollTop = top - this.rowHeight;
    else scroll.scrollTop = top + 2 * this.rowHeight - view;
  }

  select(i, where) {
    if (i < 0 || i >= this.data.key.length) return;
    const opened = openedTo(this.state, this.data, i);
    this.state = { ...opened, span: this.data.key[i] };
    this.selected = i;
    this.refold();
    this.reveal(i, where);
    this.redraw();
    this.drawPath();
    this.el.dispatchEvent(new CustomEvent("trace:select", { bubbles: true, detail: { key: this.state.span, href: href(this.state) } }));
  }

  // Shows what another address of this trace says, as far as that takes no other
  // page. It is false if it does.
  show(address) {
    const state = parseState(address);
    if (href(state) !== address || state.trace !== this.state.trace || state.critical !== this.state.critical) return false;
    const before = this.state;
    this.state = { ...state, search: before.search };
    this.selected = this.data.index.get(state.span) ?? -1;
    this.refold();
    this.redraw();
    this.drawPath();
    if (state.span !== before.span || state.fields !== before.fields) {
      this.el.dispatchEvent(new CustomEvent("trace:select", { bubbles: true, detail: { key: state.span, href: href(state) } }));
    }
    if (state.search !== before.search) {
      this.part.search.elements.namedItem("q").value = state.search;
      this.search(state.search);
    }
    return true;
  }

  deselect() {
    this.state = { ...this.state, span: "" };
    this.selected = -1;
    this.refold();
    this.redraw();
    this.drawPath();
    this.el.dispatchEvent(new CustomEvent("trace:select", { bubbles: true, detail: { key: "", href: href(this.state) } }));
  }

  fold(i) {
    this.state = toggled(this.state, this.data.key[i], this.data.depth[i]);
    // The selected row does not disappear: its folded ancestor takes its place.
    let at = this.selected;
    for (let up = at; up >= 0; up = this.data.parent[up]) {
      if (up !== this.selected && isFolded(this.state, this.data.key[up], this.data.depth[up])) at = up;
    }
    if (at !== this.selected) {
      this.select(at);
      return;
    }
    this.refold();
    this.redraw();
  }

  zoom(from, to) {
    this.state = { ...this.state, ...clampZoom(from, to, this.data.extent) };
    this.redraw();
  }

  step(direction) {
    const at = this.selected < 0 ? (direction > 0 ? -1 : this.visible.length) : this.place.get(this.selected);
    this.select(this.visible[Math.min(Math.max(at + direction, 0), this.visible.length - 1)]);
  }

  isOpen(i) {
    return this.data.end[i] > i + 1 && !isFolded(this.state, this.data.key[i], this.data.depth[i]);
  }

  // h: fold, or go up. l: unfold, or go down.
  outward() {
    const i = this.selected;
    if (i < 0) return;
    if (this.isOpen(i)) this.fold(i);
    else if (this.data.parent[i] >= 0) this.select(this.data.parent[i]);
  }

  inward() {
    const i = this.selected;
    if (i < 0 || this.data.end[i] === i + 1) return;
    if (this.isOpen(i)) this.select(i + 1);
    else this.fold(i);
  }

  async search(text) {
    this.state = { ...this.state, search: text.trim() };
    this.searching?.abort();
    this.searching = new AbortController();
    if (!this.state.search) {
      this.matches = [];
      this.redraw();
      return;
    }
    this.part.matches.textContent = "…";
    try {
      const signal = AbortSignal.any([this.signal, this.searching.signal]);
      const answer = await fetchJSON(`/t/${this.state.trace}/matches?q=${encodeURIComponent(this.state.search)}`, signal);
      if (answer.rows !== this.data.key.length) { // spans have arrived meanwhile
        const data = await fetchJSON(`${this.el.dataset.rows}?q=${encodeURIComponent(this.state.search)}`, signal);
        await letGo();
        signal.throwIfAborted();
        this.take(decodeRows(data));
        this.selected = this.data.index.get(this.state.span) ?? -1;
        this.refold();
        answer.matches = data.matches;
      }
      await letGo();
      signal.throwIfAborted();
      this.matches = answer.matches;
      this.redraw();
    } catch (err) {
      if (err.name === "AbortError") return;
      this.part.matches.textContent = "search failed";
      failed(err, this.signal);
    }
  }

  listen() {
    const on = (target, type, fn, options) => target.addEventListener(type, fn, { ...options, signal: this.signal });
    const { scroll, rows, search } = this.part;
    let frame = 0;
    on(scroll, "scroll", () => {
      frame ||= requestAnimationFrame(() => { frame = 0; this.draw(); });
    }, { passive: true });
    on(this.el, "trace:remarks", (e) => this.countRemarks(e.detail));
    on(window, "resize", () => { this.refold(); this.draw(); });
    on(rows, "click", (e) => this.click(e));
    on(this.el, "keydown", (e) => this.gridKey(e));
    const unbind = bind("waterfall", this.keys());
    this.signal.addEventListener("abort", unbind);
    on(this.el, "click", (e) => this.tool(e));
    on(document, "trace:fields", (e) => {
      this.state = { ...this.state, fields: e.detail };
      history.replaceState(history.state, "", href(this.state));
    });
    on(document, "trace:close", () => this.deselect());
    on(document, "view:go", (e) => {
      if (this.show(e.detail.href)) e.preventDefault();
    });
    on(document, "view:scroll", (e) => {
      const at = this.place.get(this.data.index.get(e.detail.id.slice(2)));
      if (!e.detail.id.startsWith("r-") || at === undefined) return;
      e.preventDefault();
      scroll.scrollTop = at * this.rowHeight + this.top - e.detail.top;
    });

    const input = search.elements.namedItem("q");
    let timer = 0;
    on(input, "input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.search(input.value), SEARCH_DELAY);
    });
    on(input, "keydown", (e) => {
      if (e.key !== "Escape") return;
      e.preventDefault();
      if (input.value) {
        input.value = "";
        this.search("");
      } else input.blur();
    });
    on(search, "submit", (e) => {
      e.preventDefault();
      clearTimeout(timer);
      if (input.value.trim() === this.state.search) this.select(nextOf(this.matches, this.selected, 1), "center");
      else this.search(input.value);
    });
    listenToBrush({ minimap: this.part.minimap, brush: this.part.brush, axis: this.part.axis }, {
      window: () => this.window,
      extent: () => this.data.extent,
      zoom: (from, to) => this.zoom(from, to),
      reset: () => this.zoom(0, this.data.extent),
    }, this.signal);
    drawBrush(this.part.brush, this.window, this.data.extent);
    this.drawSearch();
    if (document.activeElement === input && input.value.trim() !== this.state.search) this.search(input.value); // typed before this was there
  }

  click(e) {
    if (e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
    const row = e.target.closest('[role="row"]');
    const i = this.data.index.get(row?.dataset.key);
    if (i === undefined || e.target.closest('[data-part="note"]')) return;
    e.preventDefault();
    if (e.target.closest('[data-part="fold"]')) this.fold(i);
    else if (String(getSelection()) === "") this.select(i);
  }

  tool(e) {
    const link = e.target.closest("a[data-part]");
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
    if (link.dataset.part === "critical") { // the server works it out; the rest of the state goes along
      link.href = href({ ...this.state, critical: !this.state.critical });
      return;
    }
    const act = {
      levels: () => {
        this.state = { ...this.state, levels: Number(link.dataset.levels), fold: [], open: [] };
        if (this.selected >= 0) this.state = openedTo(this.state, this.data, this.selected);
        this.refold();
        this.redraw();
      },
      unzoom: () => this.zoom(0, this.data.extent),
      "prev-match": () => this.select(nextOf(this.matches, this.selected, -1), "center"),
      "next-match": () => this.select(nextOf(this.matches, this.selected, 1), "center"),
    }[link.dataset.part];
    if (!act) return;
    e.preventDefault();
    act();
  }

  // Arrow keys count while a row has the focus, as in any treegrid.
  gridKey(e) {
    if (!this.part.rows.contains(e.target) || e.ctrlKey || e.metaKey || e.altKey) return;
    const act = {
      ArrowDown: () => this.step(1),
      ArrowUp: () => this.step(-1),
      ArrowLeft: () => this.outward(),
      ArrowRight: () => this.inward(),
      Home: () => this.select(this.visible[0]),
      End: () => this.select(this.visible.at(-1)),
      Enter: () => this.select(this.data.index.get(e.target.closest('[role="row"]').dataset.key)),
    }[e.key];
    if (!act || e.target.closest("a")) return;
    e.preventDefault();
    if (this.selected < 0) this.selected = this.data.index.get(e.target.closest('[role="row"]').dataset.key) ?? -1;
    act();
    this.drawn.get(this.selected)?.focus({ preventScroll: true });
  }

  keys() {
    const chosen = () => this.selected >= 0;
    const failed = () => this.errors.length > 0;
    const matched = () => this.matches.length > 0;
    return [
      { key: "j", does: "next span", run: () => this.step(1) },
      { key: "k", does: "span before", run: () => this.step(-1) },
      { key: "h", does: "fold, then to the parent", run: () => this.outward() },
      { key: "l", does: "unfold, then to the first child", run: () => this.inward() },
      { key: "[", does: "error before", when: failed, run: () => this.select(nextOf(this.errors, this.selected, -1), "center") },
      { key: "]", does: "next error", when: failed, run: () => this.select(nextOf(this.errors, this.selected, 1), "center") },
      { key: "n", does: "next match of the search", when: matched, run: () => this.select(nextOf(this.matches, this.selected, 1), "center") },
      { key: "N", does: "match before", when: matched, run: () => this.select(nextOf(this.matches, this.selected, -1), "center") },
      {
        key: "z", does: "zoom to the selected span", when: chosen, action: "Zoom to the selected span", run: () => {
          const { from, to } = zoomTo(this.data.start[this.selected], this.data.length[this.selected], this.data.extent);
          this.zoom(from, to || this.data.extent);
        },
      },
      { key: "0", does: "show the whole trace", run: () => this.zoom(0, this.data.extent) },
    ];
  }
}
