/**
 * The slider through a board's changes: letting it go shows the board as it was.
 * @param {HTMLFormElement} el
 * @returns {() => void}
 */
export function mount(el) {
  const stop = new AbortController();
  const range = el.querySelector('[data-part="at"]');
  const shown = el.querySelector('[data-part="shown"]');
  el.querySelector('[data-part="go"]').hidden = true;
  range.addEventListener("input", () => {
    shown.textContent = Number(range.value).toLocaleString("en");
  }, { signal: stop.signal });
  range.addEventListener("change", () => {
    if (range.value !== range.defaultValue) el.requestSubmit();
  }, { signal: stop.signal });
  return () => stop.abort();
}
