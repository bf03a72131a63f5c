/**
 * Waits for the first span: asks every two seconds, more seldom while the page
 * is hidden, and goes to the trace once it is there.
 */
export function mount(el) {
  const text = el.querySelector('[data-part="text"]');
  const again = el.querySelector('[data-part="again"]');
  let timer = 0;
  let stopped = false;
  again.hidden = true;

  const look = async () => {
    let wait = document.hidden ? 10_000 : 2_000;
    try {
      const answer = await fetch(el.dataset.url, { headers: { Accept: "application/json" } });
      if (answer.status === 401) {
        location.reload();
        return;
      }
      const found = answer.ok ? await answer.json() : { found: false };
      if (stopped) return;
      if (found.found) {
        show(found);
        return;
      }
      text.textContent = "Waiting for your first span…";
    } catch {
      text.textContent = "The server cannot be reached; trying again…";
      wait = 5_000;
    }
    if (!stopped) timer = setTimeout(look, wait);
  };
  const show = (found) => {
    el.classList.add("is-here");
    const link = document.createElement("a");
    link.href = found.url;
    link.textContent = `${found.service} · ${found.name}`;
    text.replaceChildren("It is here: ", link);
    timer = setTimeout(() => location.assign(found.url), 1500);
  };
  look();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}
