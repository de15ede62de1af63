import { setImmediate as turn } from 'node:timers/promises';
import { delay } from './delay.js';

/**
 * How long others have the event loop after a piece of work, in times of what it took: a call of somebody else needs
 * several turns of the loop, and each piece that comes between them is added to what it waits.
 */
const REST_TIMES = 5;
/** From this length on a piece rests whether others are at work or not, milliseconds: one who comes meanwhile waits for all of it. */
const LONG_MS = 2;
/** A turn of the loop that took less had no work of others in it, milliseconds. */
const QUIET_MS = 0.3;

/** Work of one party on the event loop that it shares with others: piece by piece, each in a turn of its own, with rests. */
export interface Pace {
  /**
   * Does a piece when those before it have left the others their time, and gives what it gives.
   *
   * @param moreMs what the piece costs the loop beyond itself, milliseconds
   * @param signal aborted before its turn, the piece is not done and costs nothing
   * @throws       the signal's reason, and what the piece throws
   */
  run<T>(piece: () => T, moreMs?: number, signal?: AbortSignal): Promise<T>;
}

/** Makes the pace of one party; what waits is bounded by who hands it in. */
export function createPace(): Pace {
  let last: Promise<unknown> = Promise.resolve();
  return {
    run(piece, moreMs = 0, signal) {
      let tookMs = 0;
      const done = last
        // what nobody waits for any more needs no turn
        .then(() => (signal?.aborted ? undefined : turn()))
        .then(() => {
          signal?.throwIfAborted();
          const begun = performance.now();
          try {
            return piece();
          } finally {
            tookMs = performance.now() - begun + moreMs;
          }
        });
      last = done.catch(() => {}).then(() => rest(tookMs * REST_TIMES, tookMs < LONG_MS));
      return done;
    },
  };
}

/**
 * Leaves the event loop to others.
 *
 * @param ms         for how long at most
 * @param untilQuiet ends as soon as a turn of the loop had no work in it: who is alone loses nothing
 */
export async function rest(ms: number, untilQuiet: boolean): Promise<void> {
  if (!untilQuiet) return delay(ms);
  const end = performance.now() + ms;
  for (let before = performance.now(); before < end; ) {
    await turn();
    const after = performance.now();
    if (after - before < QUIET_MS) return;
    before = after;
  }
}
