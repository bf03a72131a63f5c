// Keeps the number of unread messages in the rail up to date: the socket of the page
// says when to ask. Without one it asks every few seconds while the page is looked
// at; with one now and then, for access may have changed without a word.
import { listen } from "./live.js";
import { tell } from "./inbox_say.js";

const every = 5_000; // ms
const everyConnected = 60_000;
const everyHidden = 60_000;

/** @param {HTMLElement} el the badge */
export function mount(el) {
  let timer;
  let stopped = false;
  let connected = false;
  let asking = 0;
  let changed = false; // the socket said so, and nobody was told yet
  let was = "";
  const show = (n) => {
    el.hidden = n === 0;
    const text = n > 99 ? "99+" : String(n);
    const node = el.firstChild?.nodeType === Node.TEXT_NODE ? el.firstChild : el.insertBefore(document.createTextNode(""), el.firstChild);
    if (node.textContent.trim() !== text) node.textContent = text;
  };
  const ask = async (told) => {
    clearTimeout(timer);
    const mine = ++asking;
    if (told === true) changed = true;
    try {
      const res = await fetch("/api/v1/inbox/news");
      if (res.status === 401) return; // signed out: nothing more to ask
      if (res.ok) {
        const news = await res.json();
        if (mine !== asking) return; // what was asked for later is newer
        show(news.unread);
        const now = `${news.unread} ${news.newest_unix_nano}`;
        // Access that ended takes away what was read already, which no number tells.
        if (changed || (was && was !== now)) document.dispatchEvent(new Event("redthread:inbox-news"));
        was = now;
        changed = false;
        tell(news);
      }
    } catch {
      // The server cannot be reached just now; the next time it will.
    }
    if (!stopped && mine === asking) timer = setTimeout(ask, connected ? everyConnected : document.hidden ? everyHidden : every);
  };
  const visible = () => {
    if (!document.hidden) ask();
  };
  const unlisten = listen({
    message(m) {
      if (m.type === "inbox.changed") ask(true);
    },
    state(up) {
      if (up === connected) return;
      connected = up;
      ask(); // what was said meanwhile was not heard, or is not from now on
    },
  });
  document.addEventListener("visibilitychange", visible);
  document.addEventListener("redthread:inbox-moved", ask);
  timer = setTimeout(ask, 1_000);
  return () => {
    stopped = true;
    clearTimeout(timer);
    unlisten?.();
    document.removeEventListener("visibilitychange", visible);
    document.removeEventListener("redthread:inbox-moved", ask);
  };
}
