// The shell's keys, and the list of all keys (?). A page adds lines to the list
// with <template data-keys><div class="Keys-row">…</div></template>.

const places = { h: "/", e: "/explore", i: "/investigations", n: "/inbox" };
const chordMillis = 1200;

/**
 * Reports whether a key press is text for a field and not a command.
 * @param {KeyboardEvent} e
 * @returns {boolean}
 */
export function isTyping(e) {
  const t = e.target;
  return e.isComposing || (t instanceof HTMLElement && (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName)));
}

/** Shows the list of keys. */
export function showKeys() {
  const dialog = document.getElementById("keys");
  if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
  const list = document.getElementById("keys-list");
  for (const old of list.querySelectorAll("[data-from-page]")) old.remove();
  for (const template of document.querySelectorAll("template[data-keys]")) {
    for (const row of template.content.cloneNode(true).children) {
      row.dataset.fromPage = "";
      list.append(row);
    }
  }
  dialog.showModal();
}

/** Begins to listen to the keys of the whole page. */
export function listen() {
  let chordUntil = 0;
  // Chords are seen before what a page makes of their second key.
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || isTyping(e) || document.querySelector("dialog[open]")) return;
    const chord = e.timeStamp < chordUntil && places[e.key];
    chordUntil = e.key === "g" ? e.timeStamp + chordMillis : 0;
    if (!chord) return;
    e.preventDefault();
    location.assign(chord);
  }, { capture: true });
  document.addEventListener("keydown", (e) => {
    const find = document.querySelector(".TopBar-input");
    if ((e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey && e.key.toLowerCase() === "k" && find) {
      e.preventDefault();
      find.focus();
      find.select();
      return;
    }
    if (e.key === "Escape" && e.target === find && find) find.blur();
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || isTyping(e) || document.querySelector("dialog[open]")) return;
    if (e.key === "?") {
      e.preventDefault();
      showKeys();
    } else if (e.key === "/") {
      const search = document.querySelector('main [data-key="/"]') ?? find;
      if (search) {
        e.preventDefault();
        search.focus();
      }
    }
  });
}

/** The button that shows the list of keys. */
export function mount(el) {
  el.hidden = false;
  el.addEventListener("click", showKeys);
  return () => el.removeEventListener("click", showKeys);
}
