// The page of what is not there any more, or not for its reader: what it showed is
// taken away, what was typed into it is not.
import { unmountAll } from "./mount.js";
import { el } from "./presence_parts.js";
import { texts } from "./press.js";

/** What is said of what does not exist and of what one may not see, here and by the server. */
export const nothingHere = "There is nothing here, or it is not for you to see.";

/** @param {string} words what happened */
export function showGone(words) {
  const main = document.getElementById("main");
  if (!main) return;
  const typed = [...main.querySelectorAll(texts)]
    .filter((f) => f.value.trim() !== "" && f.value !== f.defaultValue)
    .map((f) => f.value);
  const writing = main.contains(document.activeElement) && document.activeElement.matches(texts);
  const page = el("div", "Stack");
  page.setAttribute("role", "alert");
  const said = el("p", "Alone-note", words);
  const link = el("a", "", "All investigations");
  link.href = "/investigations";
  said.append(" ", link);
  page.append(said);
  if (typed.length > 0) {
    page.append(el("p", "u-quiet", "What you typed here was not saved. It is yours to copy:"));
    for (const text of typed) {
      const area = el("textarea", "Textarea", text);
      area.readOnly = true;
      area.rows = 4;
      area.setAttribute("aria-label", "What you typed");
      page.append(area);
    }
  }
  unmountAll(main);
  main.replaceChildren(page);
  if (writing) page.querySelector("textarea")?.focus(); // what one writes on would be keys of the page
  document.title = "redthread";
}
