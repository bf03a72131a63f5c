/** A <details> menu that closes on Escape and on a click elsewhere. */
export function mount(el) {
  const outside = (e) => {
    if (el.open && !el.contains(e.target)) el.open = false;
  };
  const key = (e) => {
    if (e.key === "Escape" && el.open) {
      el.open = false;
      el.querySelector("summary").focus();
      e.stopPropagation();
    }
  };
  document.addEventListener("click", outside);
  el.addEventListener("keydown", key);
  return () => {
    document.removeEventListener("click", outside);
    el.removeEventListener("keydown", key);
  };
}
