// The socket of an investigation: connects, resumes by epoch and offset, backs
// off with jitter, and says in a thin banner when it is lost.
import { backoff, judge } from "./live_log.js";
import { closeReload, closeStayAway } from "./live_messages.js";

const bannerAfter = 1_500; // a hiccup shorter than this is not told

/**
 * Follows the log of an investigation.
 * @param {{id: string, epoch: string, offset: number,
 *   onChange: (change: object) => void, onMessage?: (message: object) => void,
 *   onReload: () => void, onState?: (connected: boolean) => void, onGone?: (code: number) => void}} o
 * @returns {{close: () => void, send: (message: object) => boolean, offset: () => number}}
 */
export function follow(o) {
  let socket;
  let last = o.offset;
  let tries = 0;
  let retry;
  let closed = false;
  let bannerTimer;

  const address = () => {
    const url = new URL(`/live/investigations/${encodeURIComponent(o.id)}`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("epoch", o.epoch);
    url.searchParams.set("after", String(last));
    url.searchParams.set("path", location.pathname + location.search);
    return url;
  };
  const connect = () => {
    clearTimeout(retry);
    if (closed) return;
    const mine = new WebSocket(address(), "investigation.v1");
    socket = mine;
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
          break;
      }
    };
    mine.onclose = (e) => {
      if (socket !== mine || closed) return;
      socket = undefined;
      o.onState?.(false);
      if (e.code === closeReload) return leave(o.onReload);
      if (e.code >= closeStayAway && e.code < 5000) {
        banner(e.code === 4502 ? "This investigation was deleted." : "You are signed out here. Reload the page to sign in.");
        return leave(() => o.onGone?.(e.code));
      }
      down();
    };
  };
  const leave = (then) => {
    closed = true;
    clearTimeout(retry);
    clearTimeout(bannerTimer);
    socket?.close();
    then();
  };
  const up = () => {
    tries = 0;
    clearTimeout(bannerTimer);
    bannerTimer = undefined;
    banner("");
    o.onState?.(true);
  };
  const down = () => {
    bannerTimer ??= setTimeout(() => banner("The connection is lost. Trying again; what you type is kept."), bannerAfter);
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
    o.onState?.(false);
    down();
  };
  addEventListener("online", online);
  addEventListener("offline", offline);
  connect();
  return {
    close() {
      closed = true;
      clearTimeout(retry);
      clearTimeout(bannerTimer);
      removeEventListener("online", online);
      removeEventListener("offline", offline);
      socket?.close(1000);
    },
    send(message) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(message));
      return true;
    },
    offset: () => last,
  };
}

function banner(text) {
  const slot = document.getElementById("connection");
  if (!slot) return;
  slot.replaceChildren();
  if (!text) return;
  const el = document.createElement("div");
  el.className = "Banner Banner--warn";
  const inner = document.createElement("div");
  inner.textContent = text;
  el.append(inner);
  slot.append(el);
}
