// The entry of every page: mounts its modules, again after each htmx swap, and
// says when a request failed.

import { listen } from "./keys.js";
import { mountAll } from "./mount.js";
import { belongTo } from "./owner.js";
import { open as openPalette } from "./palette.js";
import { watchPresses } from "./press.js";
import { toast, toastKept } from "./toast.js";

document.addEventListener("htmx:load", (e) => mountAll(e.detail.elt));
document.addEventListener("htmx:responseError", (e) => {
  const status = e.detail.xhr.status;
  if (status !== 401) toast(`That did not work (${status}). Nothing was changed; try again.`, "warn");
});
document.addEventListener("htmx:sendError", () => toast("The server cannot be reached. Nothing was changed.", "warn"));

belongTo(document.querySelector(".Shell")?.dataset.me, localStorage, sessionStorage); // before anything is taken up again
watchPresses(window); // before all others, so that what they do about a press waits
listen(mountAll(document), openPalette);
toastKept();
import("./presence.js").then((m) => m.begin());
