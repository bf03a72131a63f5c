/** A form that is sent as soon as a choice is made; its button goes away. */
export function mount(form) {
  const button = form.querySelector("button[type=submit]");
  button.hidden = true;
  const change = () => form.requestSubmit();
  form.addEventListener("change", change);
  return () => {
    button.hidden = false;
    form.removeEventListener("change", change);
  };
}
