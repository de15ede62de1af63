import { HostError } from '../../contract/error.js';

/**
 * Acts on files of one module at one time; the rest wait for their turn. Each has one request in the host's pool of four
 * threads at most times: a module that asks without end leaves the others theirs.
 */
export const MAX_ACTS_AT_ONCE = 4;
/** ReadFile and WriteFile streams of one module at one time: each holds up to four descriptors as long as its module likes. */
export const MAX_STREAMS_AT_ONCE = 16;
/** Wait before another stream is worth a try. */
const RETRY_MS = 100;

/** Bounds what runs for one module at one time. */
export interface Turns {
  /** Runs the act when its turn comes. @throws the signal's reason */
  act<T>(signal: AbortSignal, act: () => Promise<T>): Promise<T>;
  /** Takes the place of a stream; the answer gives it back. @throws HostError TOO_MANY_CALLS */
  stream(): () => void;
}

/** Makes the turns of one module. */
export function createTurns(): Turns {
  let acts = 0;
  let streams = 0;
  const waiting: (() => void)[] = [];

  const enter = async (signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    if (acts < MAX_ACTS_AT_ONCE) {
      acts += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', stop);
        resolve();
      };
      const stop = (): void => {
        waiting.splice(waiting.indexOf(go), 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', stop, { once: true });
      waiting.push(go);
    });
  };

  return {
    async act(signal, act) {
      await enter(signal);
      try {
        return await act();
      } finally {
        // the place goes from hand to hand, so that nobody slips in between
        const next = waiting.shift();
        if (next === undefined) acts -= 1;
        else next();
      }
    },
    stream() {
      if (streams >= MAX_STREAMS_AT_ONCE) {
        throw new HostError('TOO_MANY_CALLS', `${MAX_STREAMS_AT_ONCE} files of this module are being read or written`, {
          retryAfterMs: RETRY_MS,
        });
      }
      streams += 1;
      let isTaken = true;
      return () => {
        if (isTaken) streams -= 1;
        isTaken = false;
      };
    },
  };
}
