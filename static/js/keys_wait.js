// Keys about what is selected, pressed while the page still fetches it: they are meant
// for what comes and not for what stands there, so they wait for it, and so does what
// is pressed behind them. No document here.

/**
 * @param {(e: KeyboardEvent) => void} press presses a key that waited
 * @returns {{comes: (shown: Promise<boolean>, all?: boolean) => void, takes: (e: KeyboardEvent, about: () => boolean) => boolean}}
 *   comes says that something will be shown, or, if that promises false, not after all,
 *   and whether all keys wait for it; takes keeps a key that has to wait, which about
 *   says of a key while something comes
 */
export function waitingKeys(press) {
  let coming = null;
  let whole = false;
  let kept = [];
  return {
    comes(shown, all = false) {
      coming = shown;
      whole = all;
      shown.then((yes) => {
        if (coming !== shown) return; // something else comes meanwhile
        coming = null;
        const list = kept;
        kept = [];
        if (yes) list.forEach(press);
      });
    },
    takes(e, about) {
      if (coming === null || e.key.length > 1 || e.key === " " || (!whole && kept.length === 0 && !about())) return false;
      kept.push(e);
      return true;
    },
  };
}
