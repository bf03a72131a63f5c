const UNITS = [["ns", 1, 1000], ["µs", 1e3, 999_500], ["ms", 1e6, 999_500_000], ["s", 1e9, 60e9]];

/**
 * Nanoseconds for people, as ui.Duration writes them: three significant digits
 * with their unit below a minute, two units above.
 * @param {number} nano
 * @returns {string}
 */
export function duration(nano) {
  if (nano < 0) return "-" + duration(-nano);
  for (const [name, size, end] of UNITS) {
    if (nano >= end) continue;
    const v = nano / size;
    const digits = size === 1 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    return `${Number(v.toFixed(digits))} ${name}`;
  }
  const seconds = Math.floor(nano / 1e9);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (hours < 1) return `${minutes} min ${seconds % 60} s`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
