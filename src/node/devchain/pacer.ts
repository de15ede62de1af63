import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../core/clock.js';

/** Longest stretch of work before others get the event loop, milliseconds; one signature takes up to ten more. */
const LONGEST_STRETCH_MS = 8;

/** Splits long work, so that it never holds the event loop. */
export interface Pacer {
  /** Lets others run when the current stretch was long enough; else goes on at once. */
  pause(): Promise<void>;
}

/** Makes a pacer on the monotonic clock. */
export function createPacer(clock: Clock): Pacer {
  let since = clock.monotonicMs();
  return {
    async pause() {
      if (clock.monotonicMs() - since < LONGEST_STRETCH_MS) return;
      await setImmediate();
      since = clock.monotonicMs();
    },
  };
}
