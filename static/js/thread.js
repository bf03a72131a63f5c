// The page of a thread: keys that go from bar to bar. Everything else is links.
import { isTyping } from "./keys.js";

/**
 * The bar to go to from another, or from none (-1).
 * @param {number} at
 * @param {number} by 1 or -1
 * @param {number} count
 * @returns {number} -1 if there are no bars
 */
export function stepBar(at, by, count) {
  if (count === 0) return -1;
  if (at < 0) return by > 0 ? 0 : count - 1;
  return Math.min(Math.max(at + by, 0), count - 1);
}

/**
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  const stop = new AbortController();
  const bars = [...el.querySelectorAll('[data-part="bar"]')];
  const chart = el.querySelector('[data-part="map"]');
  const focus = (i) => {
    bars[i]?.focus();
    bars[i]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const fold = (folded) => document.activeElement?.closest("g")?.querySelector(`[data-part="fold"][data-folded="${folded}"]`);
  const go = (link) => {
    if (!link) return;
    // Where one was survives the fold: the page comes back scrolled alike.
    sessionStorage.setItem("thread-scroll", JSON.stringify([location.pathname, scrollY, bars.indexOf(document.activeElement)]));
    location.assign(link.getAttribute("href"));
  };
  const keys = {
    j: () => focus(stepBar(bars.indexOf(document.activeElement), 1, bars.length)),
    k: () => focus(stepBar(bars.indexOf(document.activeElement), -1, bars.length)),
    h: () => go(fold(false)),
    l: () => go(fold(true)),
    o: () => focus(0),
  };
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || isTyping(e) || document.querySelector("dialog[open]")) return;
    const act = keys[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  }, { signal: stop.signal });
  chart?.addEventListener("click", (e) => {
    const link = e.target.closest('[data-part="fold"]');
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    go(link);
  }, { signal: stop.signal });

  const [path, top, at] = JSON.parse(sessionStorage.getItem("thread-scroll") ?? "[]");
  sessionStorage.removeItem("thread-scroll");
  if (path === location.pathname) {
    scrollTo(0, top);
    if (at >= 0) bars[at]?.focus({ preventScroll: true });
  }
  return () => stop.abort();
}
