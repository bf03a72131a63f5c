/** The pickers of the top bar: a choice loads the page again. */
export function mount(form) {
  const change = () => {
    const select = form.elements.environment;
    if (select.value === "") select.disabled = true; // all is the absence of the parameter
    form.requestSubmit();
  };
  form.addEventListener("change", change);
  return () => form.removeEventListener("change", change);
}
