/** A name for what is sent, by which it is made once. */
export const newRef = () => globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
