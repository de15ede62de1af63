import type { Clock } from '../../core/clock.js';
import { rest } from '../../core/pace.js';

/** Longest stretch of work that the event loop is held for, milliseconds: other modules' calls wait for it. */
const STRETCH_MS = 2;
/** How long others have the loop then while they want it, in times of the stretch. */
const REST_TIMES = 2;

/** Lets others run when the work has gone on for long enough; to be awaited between two pieces of it. */
export type Breath = () => Promise<void> | undefined;

/** Makes the breath of one long piece of work, which begins now. */
export function createBreath(clock: Clock): Breath {
  let since = clock.monotonicMs();
  return () => {
    const stretchMs = clock.monotonicMs() - since;
    if (stretchMs < STRETCH_MS) return undefined;
    return rest(stretchMs * REST_TIMES, true).then(() => {
      since = clock.monotonicMs();
    });
  };
}
