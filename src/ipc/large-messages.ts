import { setImmediate as turn } from 'node:timers/promises';
import { delay } from '../core/delay.js';

/** Size from which a message waits for a turn of its own, bytes: to check and decode one takes a millisecond and more. */
const LARGE_BYTES = 16 * 1024;
/**
 * How long the next large message of the session waits, in times of what the one before took: 1.5 MB of small fields keep the
 * loop for 15 ms, and a call of somebody else needs several turns of it. Plain bytes take a fraction of a millisecond.
 */
const REST = 5;

/** Decodes a message in its turn: a small one at once, a large one when those before it have left the others time. */
export type LargeMessageGate = <T>(bytes: number, decode: () => T) => T | Promise<T>;

/**
 * Makes the gate of one session: of its large messages one is decoded in each turn of the event loop, and together they take a
 * sixth of its time at most. Sixteen streams whose messages are complete at the same moment would keep every other
 * module for as long as all of them take.
 */
export function createLargeMessageGate(): LargeMessageGate {
  let last: Promise<unknown> = Promise.resolve();
  return (bytes, decode) => {
    if (bytes < LARGE_BYTES) return decode();
    let tookMs = 0;
    const decoded = last
      .then(() => turn())
      .then(() => {
        const begun = performance.now();
        try {
          return decode();
        } finally {
          tookMs = performance.now() - begun;
        }
      });
    last = decoded.catch(() => {}).then(() => (tookMs < 1 ? undefined : delay(tookMs * REST)));
    return decoded;
  };
}
