// What may name a trace, a query or a page: no document here.

/**
 * Whether a pasted text is worth asking the server about: one address, one path
 * of ours, or one id.
 * @param {string} text
 */
export function nameable(text) {
  if (text.length < 8 || text.length > 8192 || /\s/.test(text)) return false;
  if (/^https?:\/\/\S+$/.test(text)) return true;
  if (/^\/(t|thread|explore|i|services|ripples|messages|jobs)\b/.test(text)) return true;
  return /^[0-9a-f]{16,32}([:/][0-9a-f]{16})?$/i.test(text) || /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text);
}
