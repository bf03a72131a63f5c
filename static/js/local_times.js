// Fields that ask for a time, on pages whose forms the browser sends by itself:
// they are in the reader's zone, and sent in UTC.
import { localFields, sendUTC } from "./local_fields.js";

/** @param {HTMLElement} el */
export function mount(el) {
  localFields(el);
  const send = (e) => sendUTC(e.target, e.formData);
  el.addEventListener("formdata", send);
  return () => el.removeEventListener("formdata", send);
}
