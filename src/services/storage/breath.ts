import type { Clock } from '../../core/clock.js';

/** Longest stretch of work that the event loop is held for, milliseconds: other modules' calls wait for it. */
const STRETCH_MS = 4;

/** Lets others run when the work has gone on for long enough; to be awaited between two pieces of it. */
export type Breath = () => Promise<void> | undefined;

/** Makes the breath of one long piece of work, which begins now. */
export function createBreath(clock: Clock): Breath {
  let since = clock.monotonicMs();
  return () => {
    if (clock.monotonicMs() - since < STRETCH_MS) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        since = clock.monotonicMs();
        resolve();
      });
    });
  };
}
