// Fields that ask for a time. The server's are in UTC, which their label says; with
// scripts they are in the reader's zone, and the label says which. The server is
// told UTC.
import { clock } from "./time.js";

/** A time as a field has it, in the reader's zone. */
export const localTime = (t) => clock(t).replace(" ", "T");

/** What a field says, in UTC; "" is none. */
export function utcTime(value) {
  const t = new Date(value);
  return Number.isNaN(t.getTime()) ? "" : t.toISOString().slice(0, 19);
}

/** Puts the fields of root whose label names a zone into the reader's. */
export function localFields(root) {
  for (const zone of root.querySelectorAll("[data-zone]")) {
    const field = zone.closest("label")?.querySelector('input[type="datetime-local"]');
    if (!field || field.dataset.local !== undefined) continue;
    field.dataset.local = field.defaultValue;
    const t = new Date(`${field.defaultValue}Z`);
    if (!Number.isNaN(t.getTime())) field.defaultValue = localTime(t); // what was typed already stays
    zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  }
}

/** What a field says as the server has it: as it came, if it says the same still, since an hour of the clock may come twice. */
export function asUTC(field) {
  const came = field.dataset.local;
  if (came === undefined) return field.value;
  const same = came && new Date(field.value).getTime() === new Date(localTime(new Date(`${came}Z`))).getTime();
  return same ? came : utcTime(field.value);
}

/** Puts the times of a form that is being sent into UTC. */
export function sendUTC(form, data) {
  for (const f of form.elements) if (f.dataset.local !== undefined && data.has(f.name)) data.set(f.name, asUTC(f));
}
