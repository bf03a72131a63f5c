const dark = matchMedia("(prefers-color-scheme: dark)");

/** The theme button: switches at once and tells the server to remember it. */
export function mount(form) {
  const button = form.querySelector("button");
  const current = () => document.documentElement.dataset.theme || (dark.matches ? "dark" : "light");
  const aim = () => { button.value = current() === "dark" ? "light" : "dark"; };
  aim();
  const submit = async (e) => {
    e.preventDefault();
    const theme = button.value;
    document.documentElement.dataset.theme = theme;
    aim();
    document.dispatchEvent(new CustomEvent("redthread:theme", { detail: { theme } }));
    await fetch(form.action, { method: "POST", body: new URLSearchParams({ theme }), headers: { "HX-Request": "true" } });
  };
  form.addEventListener("submit", submit);
  dark.addEventListener("change", aim);
  return () => {
    form.removeEventListener("submit", submit);
    dark.removeEventListener("change", aim);
  };
}
