// An investigation's page: applies changes as they happen by fetching the part
// of the page that changed, and sends forms without leaving the page. What
// somebody types is never lost: a part that is swapped keeps it, a form that
// cannot be sent keeps it, and drafts survive a reload.
import { mountAll, toast, unmountAll } from "./app.js";
import { follow } from "./live.js";
import { stale } from "./live_log.js";
import { serviceClass } from "./service.js";
import { clock } from "./time.js";

/** @param {HTMLElement} el */
export function mount(el) {
  const id = el.dataset.id;
  const base = `/i/${encodeURIComponent(id)}`;
  const part = (name) => el.querySelector(`[data-part="${name}"]`);
  const dirty = { head: false, notes: false, words: false, blocks: new Set() };
  let drawnTo = Number(el.dataset.offset);
  let latest = drawnTo;
  let timer;
  let drawing = Promise.resolve();

  const apply = (change) => {
    latest = change.offset;
    const s = stale(change);
    if (s.deleted) return location.assign("/investigations");
    if (s.head) dirty.head = true;
    if (s.block) dirty.blocks.add(s.block);
    if (s.gone) remove(s.gone);
    if (s.words) dirty.words = true;
    if (s.annotation) {
      const home = blockOf(change);
      if (home) for (const b of home) dirty.blocks.add(b);
      dirty.notes = true;
    }
    schedule();
  };
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
  const schedule = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      drawing = drawing.then(draw);
    }, 30);
  };

  // draw fetches what is stale. If that fails it stays stale and is tried again.
  const draw = async () => {
    if (el.querySelector("form[data-busy]")) return schedule(); // its answer comes first
    const head = dirty.head;
    const notes = dirty.notes;
    const blocks = [...dirty.blocks];
    const words = dirty.words;
    const to = latest;
    dirty.head = dirty.notes = dirty.words = false;
    dirty.blocks.clear();
    const jobs = [];
    if (head) jobs.push(swap(`${base}/head`, document.getElementById("board-head")));
    if (notes) jobs.push(swap(`${base}/remarks`, document.getElementById("board-notes")));
    for (const b of blocks) jobs.push(drawBlock(b));
    if (words || to > drawnTo) jobs.push(drawTimeline(words ? 0 : drawnTo));
    const results = await Promise.allSettled(jobs);
    if (results.some((r) => r.status === "rejected")) {
      dirty.head ||= head;
      dirty.notes ||= notes;
      dirty.words ||= words;
      for (const b of blocks) dirty.blocks.add(b);
      clearTimeout(timer);
      timer = setTimeout(() => {
        drawing = drawing.then(draw);
      }, 1500);
    }
    part("empty").hidden = part("blocks").children.length > 0;
  };
  const drawBlock = async (b) => {
    const fresh = await fragment(`${base}/blocks/${encodeURIComponent(b)}`);
    if (!fresh) return remove(b);
    const old = document.getElementById(b);
    if (old) {
      replace(old, fresh);
      place(fresh);
    } else {
      place(fresh);
      mountAll(fresh);
      restoreDrafts(fresh);
    }
  };
  // place puts a block where its position says.
  const place = (block) => {
    const list = part("blocks");
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
    rescue(old);
    unmountAll(old);
    old.remove();
    part("empty").hidden = part("blocks").children.length > 0;
  };
  const drawTimeline = async (after) => {
    const list = part("timeline");
    const res = await fetch(`${base}/timeline?after=${after}`);
    if (!res.ok) throw new Error(String(res.status));
    const doc = new DOMParser().parseFromString(await res.text(), "text/html");
    for (const entry of [...doc.body.children].reverse()) {
      const offset = Number(entry.dataset.offset);
      localise(entry);
      const drawn = document.getElementById(entry.id);
      if (drawn) {
        if (!drawn.isEqualNode(entry)) drawn.replaceWith(document.adoptNode(entry));
        continue;
      }
      const below = [...list.children].find((c) => Number(c.dataset.offset) < offset);
      list.insertBefore(document.adoptNode(entry), below ?? null);
      drawnTo = Math.max(drawnTo, offset);
      part("said").textContent = entry.querySelector(".Timeline-text")?.textContent.replace(/\s+/g, " ").trim() ?? "";
    }
  };
  const swap = async (path, old) => {
    const fresh = await fragment(path);
    if (fresh && old) replace(old, fresh);
  };

  const drawHere = (people) => {
    const list = part("here");
    const mine = people.filter((p) => p.id === el.dataset.me);
    const others = people.filter((p) => p.id !== el.dataset.me);
    list.replaceChildren(
      ...[...mine, ...others].map((p) => {
        const li = document.createElement("li");
        li.className = "Here-person";
        const avatar = document.createElement("span");
        avatar.className = "Avatar";
        avatar.classList.add(serviceClass(p.id));
        avatar.textContent = initials(p.name);
        avatar.setAttribute("aria-hidden", "true");
        const name = document.createElement("span");
        name.className = "Here-name";
        name.textContent = p.id === el.dataset.me ? "you" : p.name;
        const where = document.createElement("span");
        where.className = "Here-where";
        where.textContent = p.pages.length === 0 || p.pages.includes("board") ? "on this board" : "elsewhere";
        li.append(avatar, name, where);
        return li;
      }),
    );
    document.querySelector(".Here-nobody")?.toggleAttribute("hidden", people.length > 0);
  };

  const live = follow({
    id,
    epoch: el.dataset.epoch,
    offset: latest,
    onChange: apply,
    onMessage: (m) => {
      if (m.type === "presence.changed") drawHere(m.people);
    },
    onReload: () => location.reload(),
    onState: (up) => {
      el.dataset.live = up ? "on" : "off";
      if (up && outbox.size > 0) for (const form of [...outbox]) send(form);
    },
  });

  // Forms. Those that could not be sent wait here and go again by themselves;
  // their ref makes a second arrival harmless.
  const outbox = new Set();
  const submit = (e) => {
    const form = e.target;
    if (!form.matches("form[data-form]") || e.defaultPrevented) return;
    e.preventDefault();
    if (form.dataset.form === "delete" && !form.dataset.sure) {
      form.dataset.sure = "1";
      const button = form.querySelector("button");
      button.textContent = "Really delete?";
      return;
    }
    send(form);
  };
  const send = async (form) => {
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    outbox.delete(form);
    say(form, "");
    try {
      let res;
      try {
        res = await fetch(form.action, {
          method: "POST",
          headers: { Accept: "application/json" },
          body: new URLSearchParams(new FormData(form)),
          signal: AbortSignal.timeout(15_000),
        });
      } catch {
        outbox.add(form);
        say(form, "Not sent yet: the server cannot be reached. It is kept here and goes out by itself.");
        return;
      }
      const body = await res.json().catch(() => ({}));
      if (res.ok) return sent(form, body);
      if (res.status === 409 && body.error?.field !== "ref") return conflict(form, body);
      if (res.status >= 500) outbox.add(form);
      say(form, `${body.error?.message ?? `The server answered ${res.status}.`} What you typed is kept.`);
    } finally {
      delete form.dataset.busy;
    }
  };
  const sent = (form, body) => {
    forget(form);
    // A form that waited for the connection may have been drawn anew since.
    const drawn = [...el.querySelectorAll("form[data-form]")].find((f) => formKey(f) === formKey(form));
    for (const f of new Set([form, drawn ?? form])) {
      say(f, "");
      const ref = f.elements.namedItem("ref");
      const seen = f.elements.namedItem("seen");
      if (ref) ref.value = newRef();
      if (seen && body.offset) seen.value = String(body.offset);
      if (["note", "link", "annotate"].includes(f.dataset.form)) {
        f.reset();
        continue;
      }
      settle(f);
      const details = f.closest("details");
      if (details) details.open = false;
    }
  };
  // conflict keeps what was typed, shows theirs, and lets the next save win.
  const conflict = (form, body) => {
    const seen = form.elements.namedItem("seen");
    if (seen) seen.value = String(body.offset);
    const was = form.elements.namedItem(`was_${body.error.field}`);
    if (was) was.value = String(body.theirs ?? "");
    say(form, `Somebody changed the ${body.error.field} meanwhile. Save again to put yours in its place. Theirs:`, body.theirs);
  };

  const change = (e) => {
    const form = e.target.closest('form[data-form="head"]');
    if (form && e.target.matches("select")) form.requestSubmit();
  };
  const input = (e) => {
    const form = e.target.closest("form[data-draft]");
    if (form) keep(form);
  };
  const key = (e) => {
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && e.target.matches("textarea")) {
      e.preventDefault();
      e.target.form?.requestSubmit();
    }
  };
  el.addEventListener("submit", submit);
  el.addEventListener("change", change);
  el.addEventListener("input", input);
  el.addEventListener("keydown", key);
  localise(el);
  for (const b of el.querySelectorAll('form[data-form="head"] [data-part="save"]')) b.hidden = true;
  restoreDrafts(el);
  return () => {
    live.close();
    clearTimeout(timer);
    el.removeEventListener("submit", submit);
    el.removeEventListener("change", change);
    el.removeEventListener("input", input);
    el.removeEventListener("keydown", key);
  };
}

async function fragment(path) {
  const res = await fetch(path, { headers: { "HX-Request": "true" } });
  if (res.status === 404) return null;
  if (!res.ok) throw new Error(String(res.status));
  const doc = new DOMParser().parseFromString(await res.text(), "text/html");
  const el = doc.body.firstElementChild;
  return el ? document.adoptNode(el) : null;
}

/** Puts fresh in the place of old and carries over what the person does there. */
function replace(old, fresh) {
  const kept = typed(old);
  const focus = focusOf(old);
  const open = [...old.querySelectorAll("details[open]")].map((d) => detailsKey(old, d));
  unmountAll(old);
  old.replaceWith(fresh);
  for (const d of fresh.querySelectorAll("details")) if (open.includes(detailsKey(fresh, d))) d.open = true;
  for (const form of fresh.querySelectorAll("form")) {
    const was = kept.get(formKey(form));
    if (!was) continue;
    // What was typed belongs to the version that was seen then.
    for (const [name, value] of was) {
      const field = form.elements.namedItem(name);
      if (field && "value" in field) field.value = value;
    }
  }
  for (const b of fresh.querySelectorAll('[data-part="save"]')) b.hidden = true;
  localise(fresh);
  mountAll(fresh);
  if (focus) {
    const form = [...fresh.querySelectorAll("form")].find((f) => formKey(f) === focus.form);
    const field = form?.elements.namedItem(focus.name) ?? (focus.self ? fresh : undefined);
    if (field instanceof HTMLElement) {
      field.focus({ preventScroll: true });
      if (focus.range && "setSelectionRange" in field) field.setSelectionRange(...focus.range);
    }
  }
}

/** The fields of the forms that differ from how they were drawn, by form. */
function typed(root) {
  const out = new Map();
  for (const form of root.querySelectorAll("form")) {
    const fields = [...form.elements].filter((f) => f.name && "defaultValue" in f && f.type !== "hidden");
    if (!fields.some((f) => f.value !== f.defaultValue)) continue;
    const all = new Map();
    for (const f of form.elements) if (f.name) all.set(f.name, f.value);
    out.set(formKey(form), all);
  }
  return out;
}

const formKey = (form) => `${form.dataset.form} ${new URL(form.action, location.href).pathname} ${form.elements.namedItem("pin_id")?.value ?? ""}`;
const detailsKey = (root, d) => d.dataset.key ?? String([...root.querySelectorAll("details:not([data-key])")].indexOf(d));

function focusOf(root) {
  const a = document.activeElement;
  if (!a || !root.contains(a)) return null;
  const range = a.matches("textarea, input[type=text], input:not([type])") ? [a.selectionStart, a.selectionEnd] : null;
  return { form: a.form ? formKey(a.form) : "", name: a.name ?? "", self: a === root, range };
}

/** After a save: what stands in the form is how it was drawn. */
function settle(form) {
  for (const f of form.elements) if ("defaultValue" in f) f.defaultValue = f.value;
}

/** Tells beside a form what became of it; theirs is another version of a text. */
function say(form, text, theirs) {
  let el = form.querySelector(".Form-said");
  if (!text) return el?.remove();
  if (!el) {
    el = document.createElement("div");
    el.className = "Form-said";
    el.setAttribute("role", "alert");
    form.append(el);
  }
  el.replaceChildren(text);
  if (theirs !== undefined && theirs !== null) {
    const pre = document.createElement("pre");
    pre.className = "Conflict-text";
    pre.textContent = String(theirs);
    el.append(pre);
  }
}

// Drafts: the text fields of a form with data-draft, per tab.
const draftKey = (form) => `redthread:draft:${form.dataset.draft}`;

function keep(form) {
  const values = {};
  for (const f of form.elements) if (f.name && f.type !== "hidden" && "defaultValue" in f && f.value !== f.defaultValue) values[f.name] = f.value;
  try {
    if (Object.keys(values).length === 0) sessionStorage.removeItem(draftKey(form));
    else sessionStorage.setItem(draftKey(form), JSON.stringify({ values, seen: form.elements.namedItem("seen")?.value }));
  } catch {
    // A full or forbidden storage costs the draft's survival of a reload only.
  }
}

function forget(form) {
  if (form.dataset.draft) sessionStorage.removeItem(draftKey(form));
}

function restoreDrafts(root) {
  for (const form of root.querySelectorAll("form[data-draft]")) {
    const raw = sessionStorage.getItem(draftKey(form));
    if (!raw) continue;
    const { values, seen } = JSON.parse(raw);
    for (const [name, value] of Object.entries(values)) {
      const field = form.elements.namedItem(name);
      if (field && "value" in field) field.value = value;
    }
    if (seen && form.elements.namedItem("seen")) form.elements.namedItem("seen").value = seen;
    const details = form.closest("details");
    if (details) details.open = true;
  }
}

/** Text in a block that somebody deletes meanwhile moves to the clipboard's stead: a note on the page. */
function rescue(block) {
  for (const fields of typed(block).values()) {
    const text = fields.get("text");
    if (!text) continue;
    const note = document.querySelector('form[data-form="note"]');
    const field = note?.elements.namedItem("text");
    if (!field) continue;
    field.value = field.value ? `${field.value}\n\n${text}` : text;
    keep(note);
    toast("Somebody deleted the block that you were editing. Your text is in the note field below.", "warn");
  }
}

function localise(root) {
  const times = [...root.querySelectorAll("time[data-clock]")];
  if (root.matches?.("time[data-clock]")) times.push(root);
  for (const t of times) {
    const d = new Date(t.dateTime);
    if (Number.isNaN(d.getTime())) continue;
    t.textContent = clock(d).slice(11, 16);
    t.title = clock(d);
  }
}

const newRef = () => globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;

function initials(name) {
  const parts = name.split(/[ ._@-]+/).filter(Boolean);
  return parts.slice(0, 2).map((p) => p[0].toUpperCase()).join("") || "?";
}
