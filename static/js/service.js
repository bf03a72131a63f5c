/** Number of colours in the ring of css/services.css. */
export const SERVICE_HUES = 12;

const encoder = new TextEncoder();

/**
 * Place of a service in the colour ring: FNV-1a (32 bits) over its UTF-8 bytes,
 * as views.ServiceHue computes it.
 * @param {string} service
 * @returns {number} 0 to 11
 */
export function serviceHue(service) {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(service)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return ((hash ^ (hash >>> 15)) >>> 0) % SERVICE_HUES; // FNV's low bits alone are weak
}

/**
 * Class that sets --service to the colour of the service.
 * @param {string} service
 * @returns {string}
 */
export function serviceClass(service) {
  return `Service--${serviceHue(service)}`;
}
