// Who else is here, in the bar at the top: avatars, and behind them a menu with
// where each is, to go there or to follow, and whether one is seen oneself.
// Begins on every page; on one that is nobody else's business the server tells and
// shows nothing.
import { mountAll } from "./mount.js";
import { avatar, button, el } from "./presence_parts.js";
import { names, whereWords } from "./presence_words.js";
import { attend, listen, send } from "./live.js";
import { bind } from "./keys.js";
import * as cursors from "./cursor.js";
import * as follow from "./follow.js";
import { afterPress } from "./press.js";
import { watchView } from "./view.js";

const shownAvatars = 4;
const joinedMillis = 800; // what changes within is said once

let me = { id: "", hidden: false, alone: false, followers: [] };
let people = [];
let more = 0;

/** Begins, once for a page. */
export function begin() {
  const slot = document.getElementById("people-here");
  if (!slot) return;
  slot.removeAttribute("aria-live"); // faces come and go; what is worth saying is said below
  const said = el("p", "u-hidden");
  said.setAttribute("role", "status");
  slot.after(said);
  const menu = makeMenu(slot);
  const view = watchView();
  let drawn = "";
  const draw = () => {
    const key = JSON.stringify([people, more, me, follow.leader()?.id]);
    if (key === drawn) return;
    drawn = key;
    afterPress(menu.draw);
    cursors.know(people.filter((p) => p.id !== me.id));
  };
  listen({
    message(m) {
      switch (m.type) {
        case "presence.changed":
          tellNews(said, people, m.people);
          people = m.people;
          more = m.more;
          break;
        case "presence.self":
          me = m;
          view.followed(m.followers.length > 0);
          break;
        case "cursor.moved":
          return cursors.moved(m);
        default:
          follow.hear(m);
      }
      draw();
    },
    state(up, forGood) {
      if (!up) [people, more] = [[], 0];
      cursors.state(up);
      view.state(up);
      follow.state(up, forGood);
      draw();
    },
  });
  follow.begin(draw);
  cursors.begin();
  // A board opens its own socket, with its log.
  if (!document.querySelector('[data-js~="investigation"]')) attend(document.querySelector("[data-board]")?.dataset.board);
  bind("presence", [{ key: "f", does: "follow somebody who is here", when: () => !slot.hidden && !follow.leader(), run: () => menu.open() }]);
}

function others() {
  return people.filter((p) => p.id !== me.id);
}

// Says who came and who went, for those who do not see the faces.
let before;
let timer;
function tellNews(said, was, now) {
  before ??= was;
  clearTimeout(timer);
  timer = setTimeout(() => {
    const ids = new Set(before.map((p) => p.id));
    const here = new Set(now.map((p) => p.id));
    const came = now.filter((p) => !ids.has(p.id) && p.id !== me.id);
    const went = before.filter((p) => !here.has(p.id) && p.id !== me.id);
    before = undefined;
    const parts = [];
    if (came.length > 0) parts.push(`${names(came)} ${came.length === 1 ? "is" : "are"} here.`);
    if (went.length > 0) parts.push(`${names(went)} left.`);
    if (parts.length > 0) said.textContent = parts.join(" ");
  }, joinedMillis);
}

function makeMenu(slot) {
  const details = document.createElement("details");
  details.className = "Menu People";
  details.dataset.js = "menu";
  const summary = el("summary", "Menu-button People-faces");
  const list = el("div", "Menu-list People-list");
  details.append(summary, list);
  slot.hidden = true;
  slot.replaceChildren(details);
  mountAll(details);

  const draw = () => {
    const rest = others();
    slot.hidden = rest.length === 0 && !me.hidden && me.followers.length === 0;
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    drawFaces(summary, rest);
    list.replaceChildren(...rest.map(personRow), ...tail(), ...footer());
    if (focused) (list.querySelector(`[data-key="${CSS.escape(focused)}"]`) ?? summary).focus();
  };
  return {
    draw,
    open() {
      details.open = true;
      (list.querySelector("button, a, input") ?? summary).focus();
    },
  };
}

function drawFaces(summary, rest) {
  const faces = rest.slice(0, shownAvatars).map((p) => {
    const a = avatar(p);
    a.classList.toggle("Avatar--idle", p.idle);
    return a;
  });
  const hidden = rest.length - faces.length + more;
  if (hidden > 0) faces.push(el("span", "People-more", `+${hidden}`));
  if (me.hidden) faces.push(el("span", "People-hidden", "hidden"));
  const followers = me.followers.length;
  if (followers > 0) faces.push(el("span", "People-followers", followers === 1 ? "1 follows you" : `${followers} follow you`));
  for (const f of faces) f.setAttribute("aria-hidden", "true");
  const who = rest.length > 0 ? `${names(rest)} ${rest.length + more === 1 ? "is" : "are"} here` : "Nobody else is shown here";
  const words = [who, me.hidden && "you are hidden", followers > 0 && `${names(me.followers)} follow you`].filter(Boolean).join(", ");
  summary.replaceChildren(...faces, el("span", "u-hidden", words));
  summary.title = who;
}

function personRow(p) {
  const row = el("div", "People-row");
  const where = document.createElement("a");
  where.className = "People-where";
  where.textContent = p.idle ? `${whereWords(p.pages)}, away` : whereWords(p.pages);
  where.dataset.key = `where-${p.id}`;
  if (p.pages.length > 0) where.href = p.pages[0];
  const name = el("span", "People-name", p.name);
  const theirs = me.followers.some((f) => f.id === p.id);
  const led = follow.leader()?.id === p.id;
  row.append(avatar(p), name, where);
  if (theirs) row.append(button("Let go", `letgo-${p.id}`, () => send("follow.let_go", { person: p.id }), `Do not let ${p.name} follow you now`));
  else if (led) row.append(button("Stop", `stop-${p.id}`, () => follow.stop(), `Stop following ${p.name}`));
  else row.append(button("Follow", `follow-${p.id}`, () => follow.start(p), `Follow ${p.name}: your view goes where theirs goes`));
  return row;
}

// Followers who are at another place, and how many are not named.
function tail() {
  const here = new Set(people.map((p) => p.id));
  const rows = me.followers.filter((f) => !here.has(f.id)).map((f) => {
    const row = el("div", "People-row");
    row.append(avatar(f), el("span", "People-name", f.name), el("span", "People-where", "follows you"),
      button("Let go", `letgo-${f.id}`, () => send("follow.let_go", { person: f.id }), `Do not let ${f.name} follow you now`));
    return row;
  });
  if (more > 0) rows.push(el("p", "People-note", `and ${more.toLocaleString("en")} more`));
  return rows;
}

function footer() {
  const foot = el("div", "People-foot");
  const rest = others().filter((p) => !me.followers.some((f) => f.id === p.id));
  if (rest.length > 0 && !me.hidden && !me.alone && !follow.leader()) {
    foot.append(button(rest.length === 1 ? `Ask ${rest[0].name} to follow me` : "Ask all to follow me", "ask", (e) => {
      for (const p of rest) send("follow.ask", { person: p.id });
      e.target.textContent = "Asked";
    }, "They are asked, and may say no"));
  }
  foot.append(
    choice("hidden", "Hide me", "Nobody sees where you are"),
    choice("alone", "Nobody may follow me", "Others see you, and cannot follow"),
  );
  return [foot];
}

function choice(name, text, title) {
  const label = el("label", "Check People-choice");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = me[name];
  box.dataset.key = name;
  box.addEventListener("change", () => {
    const wanted = { hidden: me.hidden, alone: me.alone, [name]: box.checked };
    if (send("presence.prefer", wanted)) me = { ...me, ...wanted }; // the next choice may come before its answer
    else box.checked = me[name];
  });
  label.title = title;
  label.append(box, el("span", "", text));
  return label;
}
