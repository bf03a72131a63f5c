// What the browser says of the inbox while the page is not looked at. Several tabs
// hear the same; each message is said once, by the tab that comes first: a lock is
// held from reading what was said until it is written down.
const said = "redthread:said"; // in localStorage: until when all was said, "" off
const asked = new BroadcastChannel("redthread:inbox");
const answerMillis = 250; // for the tabs to tell what they show

/** @type {Map<string, Notification>} */
const shown = new Map();

asked.onmessage = (e) => {
  const { look, seen, yes } = e.data;
  if (look) asked.postMessage({ seen: look.id, yes: looksAt(look.path) });
  if (seen && yes) waiting.get(seen)?.();
};
/** @type {Map<string, () => void>} */
const waiting = new Map();

function looksAt(path) {
  return document.visibilityState === "visible" && document.hasFocus() && (location.pathname === path || location.pathname === "/inbox");
}

/** @returns {boolean} whether the browser can say anything at all */
export const able = () => "Notification" in globalThis && "locks" in navigator;

/** @returns {boolean} whether it does */
export const says = () => able() && Notification.permission === "granted" && localStorage.getItem(said) !== null;

/**
 * Switches it on or off. What came before is not said.
 * @param {boolean} on
 */
export async function turn(on) {
  if (!on) return localStorage.removeItem(said);
  const res = await fetch("/api/v1/inbox/news");
  if (res.ok) localStorage.setItem(said, (await res.json()).newest_unix_nano);
  return undefined;
}

/**
 * Says what is new, or takes back what was said once nothing is unread.
 * @param {{unread: number, newest_unix_nano: string}} news
 */
export async function tell(news) {
  if (news.unread === 0) for (const n of shown.values()) n.close();
  const told = () => BigInt(news.newest_unix_nano) <= BigInt(localStorage.getItem(said) ?? "0");
  if (!says() || told()) return;
  await navigator.locks.request(said, async () => {
    if (!says() || told()) return; // another tab was first
    const res = await fetch(`/api/v1/inbox/news?after=${localStorage.getItem(said)}`);
    if (!res.ok) return;
    const fresh = await res.json();
    localStorage.setItem(said, fresh.newest_unix_nano);
    for (const it of fresh.items.reverse()) if (!(await looked(it))) say(it);
  });
}

// Whether somebody looks at it, in this tab or another.
function looked(it) {
  const path = it.path.replace(/#.*/, "");
  if (looksAt(path)) return Promise.resolve(true);
  return new Promise((done) => {
    const end = (yes) => {
      clearTimeout(timer);
      waiting.delete(it.id);
      done(yes);
    };
    const timer = setTimeout(() => end(false), answerMillis);
    waiting.set(it.id, () => end(true));
    asked.postMessage({ look: { id: it.id, path } });
  });
}

function say(it) {
  const n = new Notification(it.title, { body: it.body, tag: it.id, icon: document.querySelector('link[rel="icon"]')?.href });
  shown.set(it.id, n);
  n.onclick = () => {
    window.focus();
    n.close();
    const form = document.createElement("form"); // opening it marks it as read
    form.method = "post";
    form.action = `/inbox/${encodeURIComponent(it.id)}`;
    const open = document.createElement("input");
    open.type = "hidden";
    open.name = "open";
    open.value = "1";
    form.append(open);
    document.body.append(form);
    form.submit();
  };
  n.onclose = () => shown.delete(it.id);
  document.dispatchEvent(new CustomEvent("redthread:said", { detail: it }));
}
