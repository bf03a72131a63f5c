// The socket of a page: one for each. That of an investigation carries its log
// and resumes by epoch and offset; that of another page tells only who is here.
// It comes back by itself, backing off with jitter, and says in a thin banner when
// the log is lost.
import { afterPress } from "./press.js";
import { nothingHere, showGone } from "./gone.js";
import { backoff, judge } from "./live_log.js";
import { closeCrowded, closeForbidden, closeGone, closeReload, closeSignedOut, closeStayAway } from "./live_messages.js";

const bannerAfter = 1_500; // a hiccup shorter than this is not told
const workingOn = "redthread:investigation"; // in sessionStorage: the board that this tab last showed

/** The page's socket. @type {{send: (message: object) => boolean} | undefined} */
let page;

/**
 * Sends a message over the socket of the page.
 * @param {string} type
 * @param {object} data
 * @returns {boolean} false if there is no connection just now
 */
export function send(type, data) {
  return page?.send({ type, data }) ?? false;
}

/** @type {Set<{message: (m: object) => void, state: (connected: boolean, forGood: boolean) => void}>} */
const listeners = new Set();
// What was said last of each kind, for whoever begins to listen later.
const kept = new Map();
let connected = false;

/**
 * Hears what the socket says without an offset: presence, cursors, following.
 * What still holds is said at once.
 * @param {{message: (m: object) => void, state: (connected: boolean, forGood: boolean) => void}} listener forGood: it does not come back
 * @returns {() => void} stops it
 */
export function listen(listener) {
  listeners.add(listener);
  if (connected) listener.state(true, false);
  for (const m of kept.values()) listener.message(m);
  return () => listeners.delete(listener);
}

function hear(message) {
  if (message.type === "presence.changed" || message.type === "presence.self") kept.set(message.type, message);
  else if (message.type === "cursor.moved") {
    if (message.cursor) kept.set(message.from, message);
    else kept.delete(message.from);
  }
  for (const l of listeners) l.message(message);
}

function tell(up, forGood = false) {
  connected = up;
  if (!up) kept.clear(); // nobody knows who is here now
  for (const l of listeners) l.state(up, forGood);
}

/**
 * Tells who is here, for a page that does not draw what changes.
 * @param {string} [board] the investigation that it shows as it was, if any
 */
export function attend(board) {
  const working = sessionStorage.getItem(workingOn);
  return open({
    address() {
      const url = new URL(board ? `/live/investigations/${encodeURIComponent(board)}` : "/live/here", location.href);
      if (working && !board) url.searchParams.set("investigation", working);
      return url;
    },
    offset: Infinity, // no change is news to it
    quiet: true,
    onChange() {},
    onReload() {
      if (board) location.reload(); // it was merged into another
    },
    onGone: board ? leaveBoard : undefined, // a page without a board loses none
  });
}

/**
 * Follows the log of an investigation.
 * @param {{id: string, epoch: string, offset: number,
 *   onChange: (change: object) => void, onMessage?: (message: object) => void,
 *   onReload: () => void, onState?: (connected: boolean) => void}} o
 * @returns {{close: () => void, send: (message: object) => boolean, offset: () => number}}
 */
export function follow(o) {
  sessionStorage.setItem(workingOn, o.id);
  return open({
    ...o,
    address(last) {
      const url = new URL(`/live/investigations/${encodeURIComponent(o.id)}`, location.href);
      url.searchParams.set("epoch", o.epoch);
      url.searchParams.set("after", String(last));
      return url;
    },
    onGone: leaveBoard,
  });
}

const crowded = "You have too many pages of redthread open, so this one does not follow what changes. Close some, then load it again.";
const signedOut = "You are signed out here. Reload the page to sign in.";

const boardIsGone = (code) => code === closeForbidden || code === closeGone;

function leaveBoard(code) {
  if (boardIsGone(code)) boardGone(code === closeGone ? "This investigation was deleted." : nothingHere);
}

/**
 * Takes the investigation of the page away, for good. Who is elsewhere, and whom one
 * follows, goes on being told.
 * @param {string} words what happened
 */
export function boardGone(words) {
  sessionStorage.removeItem(workingOn);
  tell(false);
  showGone(words);
  attend();
}

function open(o) {
  let socket;
  let last = o.offset;
  let tries = 0;
  let retry;
  let closed = false;
  let bannerTimer;

  const address = () => {
    const url = o.address(last);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("path", location.pathname + location.search);
    return url;
  };
  const state = (up) => {
    o.onState?.(up);
    tell(up);
  };
  const connect = () => {
    clearTimeout(retry);
    if (closed) return;
    const mine = new WebSocket(address(), "investigation.v1");
    let opened = false;
    socket = mine;
    mine.onopen = () => {
      opened = true;
    };
    mine.onmessage = (e) => {
      if (socket !== mine) return;
      const message = JSON.parse(e.data);
      switch (judge(message, last)) {
        case "take":
          last = message.offset;
          o.onChange(message);
          break;
        case "gap":
          mine.close(4000, "a change is missing"); // and come back from last
          break;
        case "other":
          if (message.type === "hello") up();
          if (message.type === "reload") return leave(o.onReload);
          o.onMessage?.(message);
          hear(message);
          break;
      }
    };
    mine.onclose = (e) => {
      if (socket !== mine || closed) return;
      socket = undefined;
      state(false);
      if (e.code === closeReload) return leave(o.onReload);
      if (e.code >= closeStayAway && e.code < 5000) return end(e.code);
      down();
      if (!opened && tries > 1 && navigator.onLine) why().catch(() => {}); // the server cannot be reached: it is tried again
    };
  };
  // Of a socket that is refused a page hears no reason, so it asks for it.
  const why = async () => {
    const url = address();
    url.protocol = location.protocol;
    const res = await fetch(url, { redirect: "manual" });
    if (closed || connected) return;
    if (res.type === "opaqueredirect") leave(o.onReload); // merged into another
    else if (res.status === 404 && o.onGone) end(closeForbidden);
    else if (res.status === 401) end(closeSignedOut);
  };
  const end = (code) => {
    tell(false, !boardIsGone(code));
    banner(boardIsGone(code) ? "" : code === closeCrowded ? crowded : signedOut);
    leave(() => o.onGone?.(code));
  };
  const leave = (then) => {
    stop();
    socket?.close();
    then();
  };
  const stop = () => {
    closed = true;
    clearTimeout(retry);
    clearTimeout(bannerTimer);
    removeEventListener("online", online);
    removeEventListener("offline", offline);
  };
  const up = () => {
    tries = 0;
    clearTimeout(bannerTimer);
    bannerTimer = undefined;
    banner("");
    state(true);
  };
  const down = () => {
    if (!o.quiet) bannerTimer ??= setTimeout(() => banner("The connection is lost. Trying again; what you type is kept."), bannerAfter);
    clearTimeout(retry);
    retry = setTimeout(connect, backoff(tries++));
  };
  const online = () => {
    if (!socket || socket.readyState > WebSocket.OPEN) {
      tries = 0;
      connect();
    }
  };
  const offline = () => {
    // The browser knows before the socket does.
    const old = socket;
    socket = undefined;
    old?.close();
    state(false);
    down();
  };
  addEventListener("online", online);
  addEventListener("offline", offline);
  connect();
  const mine = {
    close() {
      stop();
      if (page === mine) page = undefined;
      socket?.close(1000);
    },
    send(message) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(message));
      return true;
    },
    offset: () => last,
  };
  page = mine;
  return mine;
}

// It moves the page, so it waits for whoever presses something.
let said = "";
function banner(text) {
  said = text;
  afterPress(drawBanner);
}

function drawBanner() {
  const slot = document.getElementById("connection");
  if (!slot) return;
  slot.replaceChildren();
  if (!said) return;
  const el = document.createElement("div");
  el.className = "Banner Banner--warn";
  const inner = document.createElement("div");
  inner.textContent = said;
  el.append(inner);
  slot.append(el);
}
