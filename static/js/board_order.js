// The order of a board: dragging a block by its head, and Alt with the arrow keys
// on a block that has the focus. Dropped on a side of a hypothesis in the lanes,
// a block becomes evidence. Without scripts the menu of a block does all this.
import { bind, isTyping } from "./keys.js";
import { dropPlace } from "./board_place.js";
import { unfold } from "./folded.js";

/** @param {HTMLElement} el */
export function takeOrder(el) {
  let lifted = ""; // the block that is dragged: it may be drawn anew meanwhile
  const blockOf = (id) => el.querySelector(`[data-block="${CSS.escape(id)}"]`);

  const clear = () => {
    for (const c of ["Block--before", "Block--behind", "Lane-blocks--target", "Block--lifted"]) {
      for (const b of el.querySelectorAll(`.${c}`)) b.classList.remove(c);
    }
  };
  // Only the head is a handle, so that text in a block can be selected.
  const press = (e) => {
    lifted = "";
    const block = e.target.closest("[data-block]");
    const head = e.target.closest(".Block-head");
    for (const b of el.querySelectorAll('[data-block][draggable="true"]')) b.removeAttribute("draggable");
    if (block && head && movable(block) && !e.target.closest("a, button, summary, input, select, .Menu-list")) block.setAttribute("draggable", "true");
  };
  const start = (e) => {
    const block = e.target.closest?.("[data-block]");
    if (block !== e.target) return;
    lifted = block.dataset.block;
    e.dataTransfer.effectAllowed = "move";
    e.dataTransfer.setData("text/plain", block.querySelector(".Block-title")?.textContent.trim() ?? "");
    block.classList.add("Block--lifted");
  };
  const over = (e) => {
    if (!lifted) return;
    const side = e.target.closest(".Lane-blocks");
    const block = e.target.closest("[data-block]");
    if (!side && (!block || !block.closest('[data-part="blocks"]'))) return;
    e.preventDefault();
    clear();
    blockOf(lifted)?.classList.add("Block--lifted");
    if (side) return side.classList.add("Lane-blocks--target");
    if (block.dataset.block !== lifted) block.classList.add(behind(block, e) ? "Block--behind" : "Block--before");
  };
  const drop = (e) => {
    if (!lifted) return;
    const block = blockOf(lifted);
    const side = e.target.closest(".Lane-blocks");
    const target = e.target.closest("[data-block]");
    lifted = "";
    clear();
    if (!block) return; // somebody deleted it
    if (side) {
      e.preventDefault();
      return cite(block, side);
    }
    if (!target || target === block || !target.closest('[data-part="blocks"]')) return;
    e.preventDefault();
    const ids = [...el.querySelectorAll('[data-part="blocks"] > [data-block]')].map((b) => b.dataset.block);
    const after = dropPlace(ids, block.dataset.block, target.dataset.block, behind(target, e));
    if (after !== undefined) move(block, after);
  };
  const end = () => {
    lifted = "";
    clear();
  };
  // move sends the form of the menu with another place.
  const move = (block, after) => {
    const form = block.querySelector('form[data-form="move"]');
    form.elements.namedItem("after").value = after;
    form.requestSubmit();
  };
  const cite = (block, side) => {
    unfold(block.querySelector(".Block-cite"));
    const form = block.querySelector('form[data-form="cite"]');
    const lane = side.closest("[data-lane]").dataset.lane;
    const home = block.closest("[data-lane]").dataset.lane;
    const wanted = side.dataset.side;
    if (!form || block.closest(".Lane-blocks") === side) return;
    // Back among the rest, it speaks no more for the hypothesis that it left.
    form.elements.namedItem("hypothesis").value = lane || home;
    form.requestSubmit([...form.querySelectorAll('button[name="side"]')].find((b) => b.value === wanted));
  };
  const key = (e) => {
    if (!e.altKey || e.ctrlKey || e.metaKey || (e.key !== "ArrowUp" && e.key !== "ArrowDown") || isTyping(e)) return;
    const block = e.target.closest("[data-block]");
    const form = block?.querySelector(`form[data-move="${e.key === "ArrowUp" ? "up" : "down"}"]`);
    if (!form) return;
    e.preventDefault();
    form.requestSubmit();
  };
  const walk = (by) => {
    const blocks = [...el.querySelectorAll("[data-block]")];
    const at = blocks.indexOf(document.activeElement?.closest("[data-block]"));
    const next = blocks[at < 0 ? 0 : at + by];
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  const some = () => el.querySelector("[data-block]") !== null;
  const unbind = bind("board", [
    { key: "j", does: "next block", when: some, run: () => walk(1) },
    { key: "k", does: "block before", when: some, run: () => walk(-1) },
    { key: "Alt ↑↓", does: "move the block up or down", when: () => el.querySelector("form[data-move]") !== null, listed: true },
    { key: "Ctrl ⏎", does: "send what you write", when: () => el.querySelector("textarea") !== null, listed: true },
  ]);

  const on = [["pointerdown", press], ["dragstart", start], ["dragover", over], ["drop", drop], ["dragend", end], ["keydown", key]];
  for (const [type, fn] of on) el.addEventListener(type, fn);
  return {
    close: () => {
      for (const [type, fn] of on) el.removeEventListener(type, fn);
      unbind();
    },
  };
}

const movable = (block) => block.querySelector('form[data-form="move"], .Block-cite') !== null;

/** Whether the pointer is over the lower half of a block. */
function behind(block, e) {
  const r = block.getBoundingClientRect();
  return e.clientY > r.top + r.height / 2;
}
