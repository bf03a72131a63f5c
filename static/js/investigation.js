// An investigation's page: applies changes as they happen by fetching the part
// of the page that changed, and sends forms without leaving the page. What
// somebody types is never lost: a part that is swapped keeps it, a form that
// cannot be sent keeps it, and drafts survive a reload.
import { mountAll, unmountAll } from "./mount.js";
import { refreshChoices } from "./board_choices.js";
import { keep, rescue, restoreDrafts } from "./board_drafts.js";
import { takeForms } from "./board_forms.js";
import { takeOrder } from "./board_order.js";
import { fragment, fragments, localise, replace } from "./board_swap.js";
import { takeFolded } from "./folded.js";
import { afterPress } from "./press.js";
import { boardGone, follow } from "./live.js";
import { stale } from "./live_log.js";
import { takeTimeline } from "./timeline.js";
import { toast, toastNext } from "./toast.js";
import { avatar, el as make } from "./presence_parts.js";
import { whereWords } from "./presence_words.js";

const GATHER = 50; // milliseconds: what changes meanwhile is fetched in one
const MOST_BLOCKS = 100; // of one request: maxShownBlocks of handlers/board.go
const AGAIN = 1500; // milliseconds, after what failed
const HERE_SHOWN = 6; // hereShown of views/investigation.go

/** @param {HTMLElement} el */
export function mount(el) {
  const id = el.dataset.id;
  const base = `/i/${encodeURIComponent(id)}`;
  const part = (name) => el.querySelector(`[data-part="${name}"]`);
  const lanes = Boolean(part("lanes"));
  const dirty = { lanes: false, head: false, notes: false, words: false, blocks: new Set() };
  let drawnTo = Number(el.dataset.offset);
  let latest = drawnTo;
  let timer;
  let over = false;
  const gone = new Set(); // blocks that were deleted: an answer that was on its way does not bring them back
  let drawing = Promise.resolve();

  const apply = (change) => {
    latest = change.offset;
    const s = stale(change);
    if (change.type === "investigation.merged" && change.data.from === id) {
      toastNext(`${doer(change)} merged “${change.data.title}” into this investigation.`);
      return location.assign(`/i/${encodeURIComponent(change.data.into)}`);
    }
    if (s.deleted) return boardGone(`${doer(change)} deleted this investigation just now.`);
    // Who is named but cannot see the board is offered to be asked in, in its head.
    if (s.head || JSON.stringify(change.data ?? "").includes("@")) dirty.head = true;
    // In lanes a change of one block may move others: they are drawn as one.
    if (s.gone) gone.add(s.gone);
    if (lanes && (s.block || s.gone)) dirty.lanes = true;
    else if (s.block) dirty.blocks.add(s.block);
    else if (s.gone) afterPress(() => remove(s.gone));
    // What blocks say of a hypothesis, and it of them, is drawn anew with it.
    if (!lanes && change.type.startsWith("hypothesis.")) {
      for (const b of Object.keys(change.data?.fields?.references ?? {})) if (document.getElementById(b)) dirty.blocks.add(b);
    }
    if (s.words) dirty.words = true;
    if (s.annotation) {
      const home = blockOf(change);
      if (home) for (const b of home) dirty.blocks.add(b);
      dirty.notes = true;
    }
    schedule();
  };
  const doer = (change) => (change.actor === el.dataset.me ? "You" : change.actor_name || "Somebody");
  // Where an annotation shows: its pin, the blocks of its trace, or wherever it
  // is drawn now.
  const blockOf = (change) => {
    const anchor = change.data?.anchor ?? {};
    const found = new Set();
    const drawn = document.getElementById(change.id)?.closest("[data-block]");
    if (drawn) found.add(drawn.dataset.block);
    if (anchor.pin_id && document.getElementById(anchor.pin_id)) found.add(anchor.pin_id);
    else if (anchor.trace_id) {
      for (const b of el.querySelectorAll(`[data-block][data-trace*="${CSS.escape(anchor.trace_id)}"]`)) found.add(b.dataset.block);
    }
    return found;
  };
  const schedule = (millis = GATHER) => {
    if (over) return;
    timer ??= setTimeout(() => {
      drawing = drawing.then(() => {
        timer = undefined;
        return draw();
      });
    }, millis);
  };

  // draw fetches what is stale. If that fails it stays stale and is tried again.
  const draw = async () => {
    if (el.querySelector("form[data-busy]")) return schedule(); // its answer comes first
    const head = dirty.head;
    const notes = dirty.notes;
    const all = dirty.lanes;
    const blocks = [...dirty.blocks];
    const { words } = dirty;
    const to = latest;
    dirty.lanes = dirty.head = dirty.notes = dirty.words = false;
    dirty.blocks.clear();
    const jobs = [];
    if (head) jobs.push(swap(`${base}/head`, document.getElementById("board-head")));
    if (notes) jobs.push(swap(`${base}/remarks`, document.getElementById("board-notes")));
    if (all) jobs.push(swap(`${base}?view=lanes`, part("lanes"), "#board-lanes"));
    for (let i = 0; i < blocks.length; i += MOST_BLOCKS) jobs.push(drawBlocks(blocks.slice(i, i + MOST_BLOCKS)));
    if (words || to > drawnTo) {
      // It comes when it comes: nothing else waits for it.
      timeline.draw().catch(() => {
        dirty.words = true;
        schedule();
      });
      drawnTo = Math.max(drawnTo, to);
    }
    const results = await Promise.allSettled(jobs);
    if (results.some((r) => r.status === "rejected")) {
      dirty.lanes ||= all;
      dirty.head ||= head;
      dirty.notes ||= notes;
      for (const b of blocks) dirty.blocks.add(b);
      schedule(AGAIN);
    }
    showEmpty();
  };
  const showEmpty = () => {
    refreshChoices(el);
    const empty = part("empty");
    if (empty) empty.hidden = part("blocks").querySelector("[data-block]") !== null;
  };
  const drawBlocks = async (ids) => {
    const found = await fragments(`${base}/blocks?${new URLSearchParams(ids.map((b) => ["id", b]))}`);
    for (const fresh of found) drawBlock(fresh);
    for (const b of ids) if (!found.some((f) => f.dataset.block === b)) remove(b);
  };
  const drawBlock = (fresh) => {
    if (gone.has(fresh.dataset.block)) return;
    const old = document.getElementById(fresh.dataset.block);
    if (old) {
      replace(old, fresh);
      place(fresh);
    } else if (!lanes) {
      place(fresh);
      localise(fresh);
      mountAll(fresh);
      restoreDrafts(fresh);
    }
  };
  // place puts a block where its position says.
  const place = (block) => {
    const list = part("blocks");
    if (!list) return; // lanes: it stays where it was
    const before = [...list.children].find((c) => c !== block && c.dataset.position > block.dataset.position);
    const wanted = before ?? null;
    if (block.parentElement === list && block.nextElementSibling === wanted) return;
    const focus = block.contains(document.activeElement) ? document.activeElement : undefined;
    list.insertBefore(block, wanted);
    focus?.focus({ preventScroll: true });
  };
  const remove = (b) => {
    const old = document.getElementById(b);
    if (!old) return;
    const next = old.contains(document.activeElement) ? (old.nextElementSibling ?? old.previousElementSibling) : null;
    rescue(old);
    unmountAll(old);
    old.remove();
    if (document.activeElement === document.body) next?.focus({ preventScroll: true });
    showEmpty();
  };
  const swap = async (path, old, selector) => {
    const fresh = await fragment(path, selector);
    if (fresh && old) replace(old, fresh);
  };

  const drawHere = (people) => {
    const list = part("here");
    const key = list.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    const mine = people.filter((p) => p.id === el.dataset.me);
    const others = people.filter((p) => p.id !== el.dataset.me);
    const rows = [...mine, ...others].map((p) => {
      const li = document.createElement("li");
      li.className = "Here-person";
      const face = avatar(p);
      face.classList.toggle("Avatar--idle", p.idle);
      const where = make("a", "Here-where", whereWords(p.pages));
      where.dataset.key = p.id;
      if (p.id !== el.dataset.me && p.pages.length > 0) where.href = p.pages[0];
      li.append(face, make("span", "Here-name", p.id === el.dataset.me ? "you" : p.name), where);
      return li;
    });
    const focus = document.activeElement;
    let more = list.querySelector(".Here-more");
    if (!more) {
      more = make("details", "Here-more");
      more.append(make("summary", ""), make("ul", "Here-list"));
    }
    list.replaceChildren(...rows.splice(0, HERE_SHOWN));
    if (rows.length > 0) { // the others are folded, so that the timeline stays in view
      more.querySelector("summary").textContent = `+${rows.length}`;
      more.querySelector("ul").replaceChildren(...rows);
      const li = document.createElement("li");
      li.append(more);
      list.append(li);
      if (more.contains(focus)) focus.focus({ preventScroll: true });
    }
    if (key) list.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
    document.querySelector(".Here-nobody")?.toggleAttribute("hidden", people.length > 0);
  };

  let here = [];
  const live = follow({
    id,
    epoch: el.dataset.epoch,
    offset: latest,
    onChange: apply,
    onMessage: (m) => {
      if (m.type !== "presence.changed") return;
      here = m.people;
      afterPress(() => drawHere(here));
    },
    onReload: () => location.reload(),
    onState: (up) => {
      el.dataset.live = up ? "on" : "off";
      if (up) return forms.resend();
      here = here.filter((p) => p.id === el.dataset.me); // nobody knows of the others now
      afterPress(() => drawHere(here));
    },
  });

  const timeline = takeTimeline(el, base);
  const forms = takeForms(el);
  const order = takeOrder(el);
  // Who is about to delete or merge it reads how much that is now.
  const holds = (e) => {
    if (!e.target.open || e.target.dataset.key !== "head-more") return;
    const plural = (n, one) => `${n} ${one}${n === 1 ? "" : "s"}`;
    const [cards, remarks] = ["[data-block]", ".Annotation"].map((s) => el.querySelectorAll(s).length);
    for (const part of e.target.querySelectorAll('[data-part="holds"]')) {
      part.textContent = `${plural(cards, "card")}, ${plural(remarks, "remark")} and a timeline of ${plural(latest, "change")}`;
    }
  };
  el.addEventListener("toggle", holds, true);
  const unfoldNoMore = takeFolded(el, (details) => {
    localise(details);
    refreshChoices(el);
  });

  const change = (e) => {
    const form = e.target.closest('form[data-form="state"]');
    if (form && e.target.matches("select")) form.requestSubmit();
  };
  const input = (e) => {
    const form = e.target.closest("form[data-draft]");
    if (form) keep(form);
  };
  // "Compare with live" answers in its place; the page behind the link has more.
  const click = async (e) => {
    const link = e.target.closest("a[data-compare]");
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    const mark = link.closest(".LiveMark");
    const words = link.textContent;
    link.textContent = "comparing…";
    link.setAttribute("aria-busy", "true");
    try {
      const fresh = await fragment(link.href);
      if (fresh) document.getElementById(mark.id)?.replaceWith(fresh);
      part("said").textContent = fresh?.textContent.replace(/\s+/g, " ").trim() ?? "";
    } catch {
      link.textContent = words;
      link.removeAttribute("aria-busy");
      toast("It could not be compared with what is there now. Try once more.", "warn");
    }
  };
  const key = (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && e.target.matches("textarea")) {
      e.preventDefault();
      e.target.form?.requestSubmit();
    }
  };
  el.addEventListener("change", change);
  el.addEventListener("input", input);
  el.addEventListener("click", click);
  el.addEventListener("keydown", key);
  localise(el);
  refreshChoices(el);
  for (const b of el.querySelectorAll('form [data-part="save"]')) b.hidden = true;
  restoreDrafts(el);
  return () => {
    over = true;
    live.close();
    clearTimeout(timer);
    forms.close();
    order.close();
    unfoldNoMore();
    timeline.close();
    el.removeEventListener("change", change);
    el.removeEventListener("toggle", holds, true);
    el.removeEventListener("input", input);
    el.removeEventListener("click", click);
    el.removeEventListener("keydown", key);
  };
}
