// Where a place in a text is on the screen.

const mirrored = ["boxSizing", "width", "borderTopWidth", "borderRightWidth", "borderBottomWidth", "borderLeftWidth", "paddingTop", "paddingRight",
  "paddingBottom", "paddingLeft", "font", "letterSpacing", "lineHeight", "textIndent", "wordSpacing", "tabSize"];

/**
 * The point of an offset in the text of a field, or of an element.
 * @param {HTMLElement} target
 * @param {number} offset in UTF-16 units
 * @returns {{x: number, y: number, height: number} | null} in the window; null if it is not in view
 */
export function placeIn(target, offset) {
  const point = "value" in target ? placeInField(target, offset) : placeInText(target, offset);
  if (!point || point.y < 0 || point.y > innerHeight - 12) return null;
  return point;
}

function placeInText(target, offset) {
  const walk = document.createTreeWalker(target, NodeFilter.SHOW_TEXT);
  let left = offset;
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (left > node.length) {
      left -= node.length;
      continue;
    }
    const range = document.createRange();
    range.setStart(node, left);
    range.collapse(true);
    const r = range.getClientRects()[0] ?? range.getBoundingClientRect();
    return r.height > 0 ? { x: r.left, y: r.top, height: r.height } : null;
  }
  return null;
}

// A field does not say where its letters are: a copy of it, laid out alike, does.
function placeInField(field, offset) {
  const style = getComputedStyle(field);
  const copy = document.createElement("div");
  for (const name of mirrored) copy.style[name] = style[name];
  copy.className = field.matches("textarea") ? "Cursor-mirror Cursor-mirror--lines" : "Cursor-mirror";
  copy.textContent = field.value.slice(0, offset);
  const mark = document.createElement("span");
  mark.textContent = "\u200b";
  copy.append(mark);
  document.body.append(copy);
  const box = copy.getBoundingClientRect();
  const at = mark.getBoundingClientRect();
  copy.remove();
  const own = field.getBoundingClientRect();
  const x = own.left + at.left - box.left - field.scrollLeft;
  const y = own.top + at.top - box.top - field.scrollTop;
  if (x < own.left || x > own.right || y < own.top - 2 || y > own.bottom - 8) return null;
  return { x, y, height: at.height };
}
