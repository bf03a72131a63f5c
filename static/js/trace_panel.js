/**
 * Whether an attribute contains every word of a filter, as the server decides it.
 * @param {string} key
 * @param {string} value
 * @param {string} filter
 * @returns {boolean}
 */
export function attributeMatches(key, value, filter) {
  const text = [key.toLowerCase(), value.toLowerCase()];
  return filter.toLowerCase().split(/\s+/).every((word) => text.some((t) => t.includes(word)));
}

const text = (row, part) => row.querySelector(`[data-part="${part}"]`).textContent;

/**
 * The panel of a span: filters its attributes while one types. The filter is
 * part of the address; "trace:fields" tells the waterfall, which keeps it.
 * @param {HTMLElement} el
 * @returns {() => void}
 */
export function mount(el) {
  const stop = new AbortController();
  const form = el.querySelector('[data-part="filter"]');
  if (!form) return undefined;
  const input = form.elements.namedItem("fields");
  const none = el.querySelector('[data-part="no-attributes"]');
  const rows = form.closest("section").querySelectorAll('[data-part="attribute"]');
  input.addEventListener("input", () => {
    const filter = input.value.trim();
    for (const row of rows) row.hidden = !attributeMatches(text(row, "key"), text(row, "value"), filter);
    none.hidden = [...rows].some((row) => !row.hidden);
    document.dispatchEvent(new CustomEvent("trace:fields", { detail: filter }));
  }, { signal: stop.signal });
  form.addEventListener("submit", (e) => e.preventDefault(), { signal: stop.signal });
  return () => stop.abort();
}
