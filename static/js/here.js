/**
 * A row of links that scrolls sideways on a phone: begins where one is.
 * @param {HTMLElement} el
 */
export function mount(el) {
  const here = el.querySelector("[aria-current]");
  if (!here || el.scrollWidth <= el.clientWidth) return;
  const row = el.getBoundingClientRect();
  const at = here.getBoundingClientRect();
  el.scrollLeft += at.left + at.width / 2 - row.left - row.width / 2;
}
