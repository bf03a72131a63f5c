// Keeps the number of unread messages in the rail up to date: asks every few
// seconds while the page is looked at, and when something says that it changed.

const every = 5_000; // ms
const everyHidden = 60_000;

/** @param {HTMLElement} el the badge */
export function mount(el) {
  let timer;
  let stopped = false;
  const show = (n) => {
    el.hidden = n === 0;
    const text = n > 99 ? "99+" : String(n);
    const node = el.firstChild?.nodeType === Node.TEXT_NODE ? el.firstChild : el.insertBefore(document.createTextNode(""), el.firstChild);
    if (node.textContent.trim() !== text) node.textContent = text;
  };
  const ask = async () => {
    clearTimeout(timer);
    try {
      const res = await fetch("/api/v1/inbox/count");
      if (res.status === 401) return; // signed out: nothing more to ask
      if (res.ok) show((await res.json()).unread);
    } catch {
      // The server cannot be reached just now; the next time it will.
    }
    if (!stopped) timer = setTimeout(ask, document.hidden ? everyHidden : every);
  };
  const visible = () => {
    if (!document.hidden) ask();
  };
  document.addEventListener("visibilitychange", visible);
  timer = setTimeout(ask, every);
  return () => {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", visible);
  };
}
