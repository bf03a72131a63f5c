// Keeps the keys that are pressed before the modules of the page are there, which
// hear them late but all of them (keys.js). Not a module: those come after the page.
(() => {
  const kept = [];
  const keep = (e) => {
    const command = e.ctrlKey || e.metaKey;
    const palette = command && !e.altKey && !e.shiftKey && e.key.toLowerCase() === "k";
    const typing = e.isComposing || e.target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName);
    if (!palette && (typing || command || e.altKey)) return;
    if (palette || e.key === "/") e.preventDefault(); // a browser would search for itself
    kept.push(e);
  };
  addEventListener("keydown", keep, true);
  /** Stops, and gives what was pressed. */
  window.earlyKeys = () => {
    removeEventListener("keydown", keep, true);
    return kept;
  };
})();
