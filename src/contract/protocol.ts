import { HostError } from './error.js';

/** Oldest protocol version that this host speaks. */
export const PROTOCOL_MIN = 1;
/** Newest protocol version that this host speaks. */
export const PROTOCOL_MAX = 1;

/**
 * Highest version in both ranges.
 *
 * @throws HostError PROTOCOL_UNSUPPORTED
 */
export function negotiateProtocol(min: number, max: number): number {
  const chosen = Math.min(max, PROTOCOL_MAX);
  if (min < 1 || min > max || chosen < Math.max(min, PROTOCOL_MIN)) {
    throw new HostError(
      'PROTOCOL_UNSUPPORTED',
      `this host speaks protocol ${PROTOCOL_MIN} to ${PROTOCOL_MAX}, the module ${min} to ${max}`,
      { details: { hostMin: PROTOCOL_MIN, hostMax: PROTOCOL_MAX } },
    );
  }
  return chosen;
}
