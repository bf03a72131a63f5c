// Who is being named in a text that is typed: no document here.

/**
 * The name that begins with an @ and ends at the caret, or null.
 * @param {string} text
 * @param {number} caret
 * @returns {{start: number, typed: string} | null} start is behind the @
 */
export function mentionAt(text, caret) {
  const found = /(?:^|[^\p{L}\p{N}_.+-])@([\p{L}\p{N}_.+-]*(?: [\p{L}\p{N}_.+-]*)?)$/u.exec(text.slice(Math.max(0, caret - 80), caret));
  return found ? { start: caret - found[1].length, typed: found[1] } : null;
}

/** The text with the name taken, and where the caret stands then. */
export function withMention(text, start, caret, name) {
  const rest = text.slice(caret);
  const space = /^\s/.test(rest) ? "" : " ";
  return { text: text.slice(0, start) + name + space + rest, caret: start + name.length + 1 };
}
