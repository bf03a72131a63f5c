// What this page shows, told to the others who are here: its address, which says
// all that is on screen, whether somebody looks, and, while somebody follows, how
// far it is scrolled.
import { send } from "./live.js";

const tellEvery = 80; // ms

/** @returns {{state: (up: boolean) => void, followed: (yes: boolean) => void}} */
export function watchView() {
  let told = "";
  let timer = 0;
  let followed = false;
  const tell = () => {
    timer = 0;
    const view = { path: location.pathname + location.search, idle: document.hidden, scroll: followed ? scrollOf() : { id: "", top: 0 } };
    const key = JSON.stringify(view);
    if (key !== told && send("presence.set", view)) told = key;
  };
  const soon = () => {
    timer ||= setTimeout(tell, tellEvery);
  };
  // Nothing else says that a script has changed the address.
  for (const name of ["pushState", "replaceState"]) {
    const plain = history[name];
    history[name] = function (...args) {
      plain.apply(this, args);
      soon();
    };
  }
  addEventListener("popstate", soon);
  document.addEventListener("visibilitychange", soon);
  addEventListener("scroll", () => followed && soon(), { capture: true, passive: true });
  return {
    state(up) {
      told = "";
      if (up) soon();
    },
    followed(yes) {
      if (yes === followed) return;
      followed = yes;
      soon();
    },
  };
}

/** How far the page is scrolled, by something on it that both have. */
export function scrollOf() {
  const rows = document.querySelector('.Waterfall [data-part="scroll"]');
  if (rows) {
    const edge = rows.getBoundingClientRect().top;
    const row = firstBelow(rows.querySelectorAll('[role="row"][data-key]'), edge);
    if (row) return { id: row.id, top: row.getBoundingClientRect().top - edge };
  }
  const part = firstBelow(document.querySelectorAll("[data-block], #explore-answer"), 0);
  if (part?.id) return { id: part.id, top: part.getBoundingClientRect().top };
  return { id: "", top: -scrollY };
}

function firstBelow(list, edge) {
  return [...list].find((e) => e.getBoundingClientRect().bottom > edge + 1);
}

/**
 * Scrolls this page as another is. A page that draws only what is in view does
 * it itself on "view:scroll".
 * @param {{id: string, top: number}} s
 */
export function scrollLike(s) {
  const ask = new CustomEvent("view:scroll", { cancelable: true, detail: s });
  if (!document.dispatchEvent(ask)) return;
  const part = s.id && document.getElementById(s.id);
  if (part) scrollBy({ top: part.getBoundingClientRect().top - s.top, behavior: "instant" });
  else if (!s.id) scrollTo({ top: -s.top, behavior: "instant" });
}
