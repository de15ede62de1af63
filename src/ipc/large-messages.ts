import { setImmediate as turn } from 'node:timers/promises';

/** Size from which a message waits for a turn of its own, bytes: to check and decode one takes a millisecond and more. */
const LARGE_BYTES = 64 * 1024;

/** Resolves when a message of this size may be decoded; small ones at once. */
export type LargeMessageGate = (bytes: number) => Promise<void> | undefined;

/**
 * Makes the gate of one session: of its large messages one is decoded in each turn of the event loop. Sixteen streams whose
 * messages are complete at the same moment would keep every other module for as long as all of them take.
 */
export function createLargeMessageGate(): LargeMessageGate {
  let last: Promise<void> = Promise.resolve();
  return (bytes) => {
    if (bytes < LARGE_BYTES) return undefined;
    last = last.then(() => turn());
    return last;
  };
}
