// The button that lets the browser say what comes into the inbox. It asks the browser
// only when pressed.
import { toast } from "./toast.js";
import { able, says, turn } from "./inbox_say.js";

/** @param {HTMLButtonElement} el */
export function mount(el) {
  if (!able()) return undefined;
  const draw = () => {
    el.hidden = false;
    el.setAttribute("aria-pressed", String(says()));
    el.textContent = says() ? "This browser notifies you" : "Notify me in this browser";
    el.title = Notification.permission === "denied" ? "The browser blocks messages of this site" : says() ? "Press to stop" : "A message of the browser for what is meant for you";
  };
  const click = async () => {
    if (says()) {
      await turn(false);
      toast("This browser says nothing any more. The inbox still counts.");
    } else if ((await Notification.requestPermission()) === "granted") {
      await turn(true);
      toast("This browser tells you what is new in the inbox.");
    } else toast("The browser does not allow it. Its settings for this site can change that.", "warn");
    draw();
  };
  el.addEventListener("click", click);
  draw();
  return () => el.removeEventListener("click", click);
}
