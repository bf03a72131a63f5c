/** The find box: names its key as the platform does. */
export function mount(input) {
  const key = input.parentElement.querySelector(".TopBar-key");
  if (key && /Mac|iPhone|iPad/.test(navigator.platform)) key.textContent = "⌘K";
}
