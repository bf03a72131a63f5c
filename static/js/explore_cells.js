import { toast } from "./toast.js";
import { formatFilter } from "./explore_text.js";
import { withGroup, withValue, withoutSelection } from "./explore_url.js";

/**
 * Gives the cells of the tables a menu: keep, exclude, group by, copy.
 * @param {HTMLElement} el
 * @param {() => URLSearchParams} current
 * @param {(search: URLSearchParams) => void} go
 * @returns {() => void}
 */
export function liveCells(el, current, go) {
  const off = new AbortController();
  for (const cell of el.querySelectorAll("td[data-column]")) cell.append(button(cell));
  let menu = null;
  let opener = null;

  const close = (focus) => {
    menu?.remove();
    menu = null;
    opener?.setAttribute("aria-expanded", "false");
    if (focus) opener?.focus();
    opener = null;
    el.dispatchEvent(new Event("toggle")); // as other menus do
  };
  const open = (b) => {
    const again = b === opener;
    close(false);
    if (again) return;
    opener = b;
    opener.setAttribute("aria-expanded", "true");
    menu = build(b.closest("td"), current, go, () => close(true));
    el.append(menu);
    const r = b.getBoundingClientRect();
    menu.style.left = `${Math.max(8, Math.min(r.left, innerWidth - menu.offsetWidth - 8))}px`;
    menu.style.top = `${r.bottom + menu.offsetHeight + 8 > innerHeight ? Math.max(8, r.top - menu.offsetHeight - 4) : r.bottom + 4}px`;
    menu.querySelector("[role=menuitem]").focus();
  };
  el.addEventListener("click", (e) => {
    const b = e.target.closest(".CellMenu-button");
    if (b) open(b);
    else if (menu && !menu.contains(e.target)) close(false);
  }, { signal: off.signal });
  document.addEventListener("click", (e) => {
    if (menu && !el.contains(e.target)) close(false);
  }, { signal: off.signal });
  addEventListener("scroll", () => close(false), { signal: off.signal, capture: true, passive: true });
  el.addEventListener("keydown", (e) => {
    if (!menu) return;
    const items = [...menu.querySelectorAll("[role=menuitem]")];
    const at = items.indexOf(document.activeElement);
    if (e.key === "Escape") close(true);
    else if (e.key === "ArrowDown") items[(at + 1) % items.length].focus();
    else if (e.key === "ArrowUp") items[(at - 1 + items.length) % items.length].focus();
    else if (e.key === "Tab") close(false);
    else return;
    if (e.key !== "Tab") e.preventDefault();
    e.stopPropagation();
  }, { signal: off.signal });
  return () => {
    off.abort();
    close(false);
  };
}

function button(cell) {
  const b = document.createElement("button");
  b.type = "button";
  b.className = "CellMenu-button";
  b.textContent = "⋯";
  b.setAttribute("aria-haspopup", "menu");
  b.setAttribute("aria-expanded", "false");
  b.setAttribute("aria-label", `What to do with ${cell.dataset.column} ${cell.textContent.trim().slice(0, 80)}`);
  return b;
}

function build(cell, current, go, done) {
  const { column } = cell.dataset;
  const now = cell.closest(".BubbleUp") ? () => withoutSelection(current()) : current; // the rows it speaks of are not those of a selection
  const value = cell.dataset.value === undefined ? undefined : JSON.parse(cell.dataset.value);
  const missing = value === undefined || value === null;
  const menu = document.createElement("div");
  menu.className = "CellMenu";
  menu.setAttribute("role", "menu");
  const title = document.createElement("div");
  title.className = "CellMenu-title";
  const text = formatFilter(missing ? { column, op: "does-not-exist" } : { column, op: "=", value });
  title.textContent = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  const items = [
    ["Only rows with this", () => go(withValue(now(), column, value, false))],
    ["Without these rows", () => go(withValue(now(), column, value, true))],
    ["Group by this column", () => go(withGroup(now(), column))],
  ];
  if (!missing) items.push(["Copy the value", () => copy(String(typeof value === "object" ? JSON.stringify(value) : value))]);
  menu.append(title, ...items.map(([label, act]) => {
    const b = document.createElement("button");
    b.type = "button";
    b.className = "Menu-item";
    b.setAttribute("role", "menuitem");
    b.textContent = label;
    b.addEventListener("click", () => {
      done();
      act();
    });
    return b;
  }));
  return menu;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    toast("The browser did not allow copying. Select the text and copy it by hand.", "warn");
  }
}
