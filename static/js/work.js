/**
 * A stretch of time that is dragged over in a chart of the page becomes the page's
 * window.
 */
export function mount(page) {
  const zoom = (e) => {
    const url = new URL(location.href);
    url.searchParams.delete("range");
    url.searchParams.set("from", (e.detail.from / 1000).toFixed(3));
    url.searchParams.set("to", (e.detail.to / 1000).toFixed(3));
    location.assign(url);
  };
  page.addEventListener("chart:select", zoom);
  return () => page.removeEventListener("chart:select", zoom);
}
