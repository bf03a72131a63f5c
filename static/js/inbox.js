// The inbox: its forms answer in place, its keys put the line under the focus away,
// and what comes while it is open joins it.
import { focused, focusOf } from "./board_swap.js";
import { mountAll, unmountAll } from "./mount.js";
import { toast } from "./toast.js";
import { bind, isTyping } from "./keys.js";
import { letGo } from "./press.js";
import { rowAfter } from "./rows_step.js";

let asking = 0; // answers to what was asked before are late
let sending = 0; // forms on their way: what they answer is newer than anything else

/** @param {HTMLElement} el */
export function mount(el) {
  const stop = new AbortController();
  const on = (target, type, fn, more) => target.addEventListener(type, fn, { signal: stop.signal, ...more });
  const items = () => [...el.querySelectorAll('[data-part="item"]')].filter((i) => i.offsetParent);
  const current = () => items().find((i) => i.contains(document.activeElement));
  const checks = () => [...el.querySelectorAll('input[name="item"]')];
  let stale = false;

  // What a script makes of the page as the server wrote it.
  const prepare = () => {
    const zone = el.querySelector('input[name="zone"]');
    const every = el.querySelector('[data-part="every"]');
    if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
    if (zone?.value) for (const utc of el.querySelectorAll('[data-part="utc"]')) utc.remove();
    if (every) every.hidden = false;
    count();
  };

  // Takes what a page of the inbox says in place of what is shown, unless something
  // newer was asked for or mayShow says no. What is folded stays so. The focus stays, or
  // goes to the line that now stands where its line was.
  const show = async (res, mine, mayShow) => {
    const page = new DOMParser().parseFromString(await res.text(), "text/html");
    const fresh = page.querySelector('[data-js="inbox"]');
    await letGo();
    if (!fresh || mine !== asking || !el.isConnected || !mayShow()) return;
    const held = current();
    const at = items().indexOf(held);
    const focus = focusOf(el);
    for (const g of fresh.querySelectorAll("[data-group]")) g.open = el.querySelector(`[data-group="${CSS.escape(g.dataset.group)}"]`)?.open ?? g.open;
    for (const child of [...el.children]) unmountAll(child);
    el.replaceChildren(...document.adoptNode(fresh).childNodes);
    mountAll(el);
    prepare();
    if (!focus) return;
    const left = items();
    const gone = held && !left.some((i) => i.id === held.id);
    const next = gone ? left[Math.min(at, left.length - 1)]?.querySelector('[data-part="open"]') : focused(el, focus);
    next?.focus();
    if (document.activeElement === document.body) document.getElementById("main").focus();
  };
  // What somebody does there besides: which menus are open, and what has a check.
  const hands = () => [...el.querySelectorAll("details.Menu[open]")].map((m) => m.closest('[data-part="item"]')?.id ?? "menu").concat(checks().filter((c) => c.checked).map((c) => c.value)).join();
  const send = async (form, button) => {
    if (button?.dataset.busy) return undefined; // a key pressed twice
    if (button) button.dataset.busy = "1";
    const mine = ++asking;
    const inHand = hands();
    sending++;
    const body = new URLSearchParams(new FormData(form, button));
    try {
      const res = await fetch(button?.getAttribute("formaction") ?? form.getAttribute("action"), { method: "POST", body });
      if (!res.ok) throw new Error(String(res.status));
      const at = new URL(res.url);
      if (at.pathname !== "/inbox") return location.assign(at);
      history.replaceState(history.state, "", at);
      // A menu may have been opened meanwhile: then it is asked for again, later.
      await show(res, mine, () => {
        const now = hands();
        const free = now === "" || now === inHand;
        stale ||= !free;
        return free;
      });
      document.dispatchEvent(new Event("redthread:inbox-moved"));
    } catch {
      toast("That did not work. Nothing was changed; try again.", "warn");
    } finally {
      if (button) delete button.dataset.busy;
      sending--;
      if (stale) refresh();
    }
    return undefined;
  };
  on(el, "submit", (e) => {
    if (e.submitter?.name === "open") return; // leads away
    e.preventDefault();
    send(e.target, e.submitter);
  });

  // Whether the list may change now: not under somebody's hands. If not, it does later.
  const mayRefresh = () => {
    stale = sending > 0 || hands() !== "" || new URLSearchParams(location.search).has("after");
    return !stale;
  };
  const refresh = async () => {
    if (!mayRefresh()) return;
    try {
      const mine = ++asking;
      const res = await fetch(location.href);
      if (res.ok) await show(res, mine, mayRefresh); // a menu may have been opened meanwhile
      else stale = true;
    } catch {
      stale = true; // the next word of it comes by itself
    }
  };
  on(document, "redthread:inbox-news", refresh);

  // What is folded stays in the address.
  on(el, "toggle", (e) => {
    if (!e.target.matches("[data-group]")) {
      if (stale) refresh();
      return;
    }
    const closed = [...el.querySelectorAll("[data-group]:not([open])")].map((g) => g.dataset.group).join(",");
    for (const field of el.querySelectorAll('input[name="closed"]')) field.value = closed;
    const url = new URL(location.href);
    if (closed) url.searchParams.set("closed", closed);
    else url.searchParams.delete("closed");
    history.replaceState(history.state, "", url);
  }, { capture: true });

  const count = () => {
    const box = el.querySelector('[data-part="every"] input');
    if (!box) return;
    const all = checks();
    const n = all.filter((c) => c.checked).length;
    box.checked = n > 0 && n === all.length;
    box.indeterminate = n > 0 && n < all.length;
    el.querySelector('[data-part="selected"]').textContent = n > 0 ? `${n} selected` : "";
    for (const b of el.querySelectorAll(".Inbox-bulk > button, .Inbox-bulk > details")) b.hidden = n === 0;
    if (n === 0 && stale) refresh();
  };
  on(el, "change", (e) => {
    if (e.target.closest('[data-part="every"]')) for (const c of checks()) c.checked = e.target.checked;
    count();
  });
  prepare();

  const step = (direction) => {
    const list = items();
    const next = rowAfter(list.indexOf(current()), list.length, direction);
    if (next >= 0) list[next].querySelector('[data-part="open"]').focus();
  };
  const press = (part) => () => current()?.querySelector(`[data-part="${part}"]`)?.click();
  const some = () => items().length > 0;
  const unbind = bind("inbox", [
    { key: "j", does: "next message", when: some, run: () => step(1) },
    { key: "k", does: "message before", when: some, run: () => step(-1) },
    { key: "Enter", does: "open the message", when: some, listed: true },
    { key: "e", does: "done", when: some, run: press("done") },
    {
      key: "s", does: "snooze: choose until when", when: some, run: () => {
        const menu = current()?.querySelector('[data-part="snooze"]');
        if (!menu) return;
        menu.open = true;
        menu.querySelector(".Menu-item").focus();
      },
    },
    { key: "u", does: "mark read or unread, or put back", when: some, run: press("unread") },
    {
      key: "x", does: "select", when: some, run: () => current()?.querySelector('input[name="item"]')?.click(),
    },
    {
      key: "#", does: "all of this investigation is done", when: some, run: () => (current()?.closest("[data-group]") ?? el).querySelector('[data-part="group-done"]')?.click(),
    },
    { key: "z", does: "undo", when: () => el.querySelector('[data-part="undo"]') !== null, run: () => el.querySelector('[data-part="undo"]').click() },
  ]);
  // In the menu of times the arrows move, as in any menu.
  on(el, "keydown", (e) => {
    const menu = e.target.closest?.('[data-part="snooze"] .Menu-list');
    if (!menu || isTyping(e) || (e.key !== "ArrowDown" && e.key !== "ArrowUp")) return;
    e.preventDefault();
    const list = [...menu.querySelectorAll(".Menu-item")];
    list[rowAfter(list.indexOf(document.activeElement), list.length, e.key === "ArrowDown" ? 1 : -1)]?.focus();
  });
  return () => {
    stop.abort();
    unbind();
  };
}
