// The page of a thread: loads what a link leads to in place, the keys, the brush
// over the minimap and the axis, and hover. Without it all of this is links.
import { mountAll, unmountAll } from "./mount.js";
import { toast } from "./toast.js";
import { bind, comes, isTyping } from "./keys.js";
import { goOn, handsOff } from "./press.js";
import { dragged, gripAt } from "./waterfall_brush.js";
import { stepBar, timeAt, zoomed } from "./thread_scale.js";
import { svg } from "./svg.js";

const SETTLE = 160; // milliseconds: a held j does not ask for every leg on its way
const CLICK = 4; // a drag shorter than this many pixels is none

/**
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  const stop = new AbortController();
  const on = (target, type, fn, more) => target.addEventListener(type, fn, { signal: stop.signal, ...more });
  let asking = new AbortController();
  let timer = 0;
  let brushing = new AbortController();

  const part = (name) => el.querySelector(`[data-part="${name}"]`);
  const bars = () => [...el.querySelectorAll('[data-part="bar"]')];
  const current = () => bars().find((b) => b === document.activeElement) ?? el.querySelector('[data-part="bar"][aria-current]');
  const rowOf = (bar) => bar?.closest("[data-row]");

  // load replaces the page by the state that an address tells. focus says which
  // bar is to have the focus then: a group, one of now, "*" for what is selected, or
  // "effect" for the first of what that set off. It tells whether that is shown.
  const load = (href, how = {}) => {
    goOn(el);
    const shown = fetchAndShow(href, how);
    comes(shown, true);
    return shown;
  };
  const fetchAndShow = async (href, { push = true, focus = "" }) => {
    clearTimeout(timer);
    const nth = bars().indexOf(focus);
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    el.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(href, { signal, headers: { "HX-Request": "true", Accept: "text/html" } });
      if (answer.status === 401) location.reload();
      if (!answer.ok) throw new Error(`${href}: ${answer.status}`);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector('[data-js~="thread"]');
      await handsOff(el, signal);
      const side = part("map")?.querySelector(".ThreadMap-scroll")?.scrollLeft ?? 0;
      if (push && href !== location.pathname + location.search) history.pushState({ thread: true }, "", href);
      for (const old of el.children) unmountAll(old);
      el.replaceChildren(...fresh.childNodes);
      const mounted = [...el.children].map((now) => mountAll(now));
      const scroll = part("map")?.querySelector(".ThreadMap-scroll");
      if (scroll) scroll.scrollLeft = side;
      listenToBrush();
      const at = focus === "" ? null
        : focus instanceof Element ? sameBar(focus, nth)
        : focus === "effect" ? effect() ?? current()
        : el.querySelector(`[data-group="${CSS.escape(focus)}"] [data-part="bar"]`) ?? el.querySelector('[data-part="bar"][aria-current]');
      at?.focus({ preventScroll: true });
      at?.scrollIntoView({ block: "nearest", inline: "nearest" });
      el.removeAttribute("aria-busy");
      await Promise.all(mounted); // their keys work now
      return true;
    } catch (err) {
      if (err.name === "AbortError") return false;
      console.error("redthread: thread", err);
      toast("That part of the thread could not be loaded. Try once more.", "warn");
      el.removeAttribute("aria-busy");
      return false;
    }
  };
  // The bar that stands for what an earlier one did, the nth of its time.
  const sameBar = (old, nth) => {
    const all = bars();
    const same = all.filter((b) => b.dataset.trace === old.dataset.trace);
    return same.includes(all[nth]) || same.length === 0 ? all[nth] : same[0];
  };

  // go follows a link of the page in place.
  const go = (link, focus = "") => link && load(link.getAttribute("href"), { focus });
  const focusBar = (bar) => {
    if (!bar) return;
    asking.abort(); // what was asked for before would take the focus back
    goOn(el);
    bar.focus();
    bar.scrollIntoView({ block: "nearest", inline: "nearest" });
    clearTimeout(timer);
    comes(new Promise((shown) => {
      timer = setTimeout(() => shown(fetchAndShow(bar.getAttribute("href"), { focus: bar })), SETTLE);
    }));
  };
  const step = (by, list = bars()) => {
    const at = current();
    if (!at || list.includes(at)) return focusBar(list[stepBar(list.indexOf(at), by, list.length)]);
    // Not one of them itself: the next one after where it stands.
    const all = bars();
    const after = list.filter((b) => (all.indexOf(b) - all.indexOf(at)) * by > 0);
    return focusBar(by > 0 ? after[0] : after.at(-1));
  };
  const effect = () => el.querySelector('[data-effect] [data-part="bar"]');
  const failed = () => bars().filter((b) => rowOf(b)?.dataset.failed === "true");
  const fold = (folded) => {
    const bar = current();
    const link = rowOf(bar)?.querySelector(`[data-part="fold"][data-folded="${folded}"]`);
    if (link) return go(link, rowOf(bar).dataset.group);
    if (!folded) {
      // From a member to the group above it.
      const all = bars();
      for (let i = all.indexOf(bar); i >= 0; i--) if (rowOf(all[i]).querySelector('[data-part="fold"]')) return focusBar(all[i]);
    }
  };
  const link = (selector) => () => el.querySelector(selector);
  const [inward, whole, effects] = [link('[data-zoom="in"]'), link('[data-zoom="all"]'), link('[data-zoom="effects"]')];
  const mapped = () => part("map") !== null; // the table has the keys of rows
  const unbind = bind("thread", [
    { key: "j", does: "next bar", when: mapped, run: () => step(1) },
    { key: "k", does: "bar before", when: mapped, run: () => step(-1) },
    { key: "h", waits: true, does: "fold the group", when: mapped, run: () => fold(false) },
    { key: "l", waits: true, does: "unfold the group", when: mapped, run: () => fold(true) },
    { key: "o", does: "to the origin: what began all this", action: "Go to the origin", when: mapped, run: () => focusBar(bars()[0]) },
    { key: "e", waits: true, does: "what the selected span caused", action: "Show the effects", when: () => effects() !== null || effect() !== null, run: () => effects() ? go(effects(), "effect") : focusBar(effect()) },
    { key: "[", does: "failed run before", when: mapped, run: () => step(-1, failed()) },
    { key: "]", does: "next failed run", when: mapped, run: () => step(1, failed()) },
    { key: "z", waits: true, does: "zoom in", when: () => inward() !== null, run: () => go(inward(), "*") },
    { key: "0", waits: true, does: "show the whole thread", when: () => whole() !== null, run: () => go(whole(), "*") },
    {
      key: "Enter", does: "open the trace of the bar", when: () => document.activeElement?.matches('[data-part="bar"]') ?? false,
      run: () => location.assign(document.activeElement.dataset.trace),
    },
  ]);
  on(document, "keydown", (e) => {
    if (e.key !== "Escape" || e.defaultPrevented || isTyping(e) || document.querySelector("dialog[open], details[open]")) return;
    if (part("close")) go(part("close"));
  });
  on(el, "click", (e) => {
    if (e.ctrlKey || e.metaKey || e.shiftKey || e.button !== 0) return;
    const link = e.target.closest('[data-part="bar"], [data-part="fold"], [data-part="go"], [data-part="close"]');
    if (!link || !el.contains(link)) return;
    e.preventDefault();
    go(link, link.matches('[data-part="bar"]') ? link : rowOf(link)?.dataset.group || "*");
  });
  // Where one goes whom this page follows.
  on(document, "view:go", (e) => {
    const there = new URL(e.detail.href, location.href);
    if (there.pathname !== location.pathname) return;
    e.preventDefault();
    history.replaceState(history.state, "", e.detail.href);
    load(e.detail.href, { push: false });
  });
  on(window, "popstate", () => load(location.pathname + location.search, { push: false, focus: "*" }));

  // The way to the bar under the pointer stands out.
  on(el, "pointerover", (e) => {
    for (const old of el.querySelectorAll(".ThreadCurve--hover")) old.classList.remove("ThreadCurve--hover");
    const row = e.target.closest?.("[data-row]");
    if (row) for (const c of el.querySelectorAll(`[data-to="${CSS.escape(row.dataset.row)}"]`)) c.classList.add("ThreadCurve--hover");
  });

  const zoomTo = (from, to) => load(zoomed(location.pathname + location.search, from, to), { focus: "*" });

  // The brush: drag over the minimap or the axis to zoom, an edge to move it, in
  // between to pan; press twice to see all; turn the wheel with Ctrl to zoom.
  function listenToBrush() {
    brushing.abort();
    brushing = new AbortController();
    const on = (target, type, fn, more) => target.addEventListener(type, fn, { signal: brushing.signal, ...more });
    const map = part("map");
    const mini = part("minimap");
    if (!map || !mini) return;
    const brush = part("brush");
    const whole = JSON.parse(mini.dataset.scale);
    const shown = JSON.parse(map.dataset.scale);
    if (whole.length === 0) return;
    const window = brush.dataset.from ? { from: parseFloat(brush.dataset.from), to: parseFloat(brush.dataset.to) } : { from: 0, to: 100 };
    drag(mini, whole, true);
    drag(part("chart"), shown, false);
    on(mini, "dblclick", () => go(el.querySelector('[data-zoom="all"]')));
    on(part("chart"), "wheel", (e) => {
      if (!e.ctrlKey && !e.metaKey) return;
      e.preventDefault();
      const box = e.currentTarget.getBoundingClientRect();
      const at = ((e.clientX - box.left) / box.width) * 100;
      const grow = e.deltaY < 0 ? 0.6 : 1.7;
      clearTimeout(timer);
      const a = timeAt(shown, Math.max(at - at * grow, -100));
      const b = timeAt(shown, Math.min(at + (100 - at) * grow, 200));
      const first = whole[0][0];
      const last = whole.at(-1)[1];
      timer = setTimeout(() => (grow > 1 && a <= first && b >= last ? go(el.querySelector('[data-zoom="all"]')) : zoomTo(Math.max(a, first), Math.min(b, last))), 80);
    }, { passive: false });

    // Places are percentages of the surface; the scale makes times of them.
    function drag(surface, scale, grips) {
      let now = null;
      const place = (e) => {
        const box = surface.getBoundingClientRect();
        return { x: Math.min(Math.max(((e.clientX - box.left) / box.width) * 100, 0), 100), pixel: e.clientX - box.left, width: box.width };
      };
      on(surface, "pointerdown", (e) => {
        if (e.button !== 0 || !grips && e.target.closest("a")) return;
        const at = place(e);
        now = { grip: grips ? gripAt(at.pixel, at.width, window, 100) : "new", x: at.x, pixel: at.pixel };
        surface.setPointerCapture(e.pointerId);
      });
      on(surface, "pointermove", (e) => {
        if (!now) return;
        const at = place(e);
        if (!now.next && Math.abs(at.pixel - now.pixel) < CLICK) return;
        now.next = dragged(now.grip, now.x, at.x, window, 100);
        pick(surface, now.next);
      });
      on(surface, "pointerup", () => {
        const done = now?.next;
        now = null;
        surface.querySelector(".Minimap-pick")?.remove();
        if (!done) return;
        const from = timeAt(scale, done.from);
        const to = timeAt(scale, done.to);
        if (to > from) zoomTo(from, to);
      });
      on(surface, "pointercancel", () => {
        now = null;
        surface.querySelector(".Minimap-pick")?.remove();
      });
    }
  }
  listenToBrush();

  return () => {
    clearTimeout(timer);
    comes(Promise.resolve(false));
    asking.abort();
    brushing.abort();
    stop.abort();
    unbind();
  };
}

function pick(surface, { from, to }) {
  surface.querySelector(".Minimap-pick")?.remove();
  surface.append(svg("rect", { class: "Minimap-pick", x: `${from}%`, y: 0, width: `${to - from}%`, height: "100%" }));
}
