import { createBackoff } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import { delay } from '../../core/delay.js';

/** Waits after failed runs: quick enough to notice a restart of the node, slow enough to leave a dead one alone. */
const FAILURE_BACKOFF = { firstMs: 250, maxMs: 10_000, jitter: 0.3 };

/** How a poller works. */
export interface PollerOptions {
  /** One run; a rejection is told to `failed` and the next run comes after a backoff. */
  run(signal: AbortSignal): Promise<void>;
  /** Hears of a failed run; must not throw. */
  failed(error: unknown): void;
  /** Time between the end of a run and the next, milliseconds; asked anew each time. */
  intervalMs(): number;
  /** Shortest time between two runs however often they are poked, milliseconds. */
  leastGapMs?: number | undefined;
}

/** Runs something again and again, one run at a time. */
export interface Poller {
  /** Runs at once, or once more after the run under way; many pokes are one. */
  poke(): void;
  /** Resolves when no run is under way any more. Only after the signal has aborted. */
  done(): Promise<void>;
}

/** Starts polling; it ends with the signal. */
export function startPoller(
  options: PollerOptions,
  context: { clock: Pick<Clock, 'monotonicMs'>; random: () => number; signal: AbortSignal },
): Poller {
  const { clock, signal } = context;
  const backoff = createBackoff(FAILURE_BACKOFF, context.random);
  let wake = (): void => {};
  let poked = true;

  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done, { once: true });
      wake = done;
    });

  const loop = async (): Promise<void> => {
    let waitMs = 0;
    let lastRun = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      if (!poked) await sleep(waitMs);
      const gap = (options.leastGapMs ?? 0) - (clock.monotonicMs() - lastRun);
      if (gap > 0) await delay(gap, signal);
      if (signal.aborted) return;
      poked = false;
      lastRun = clock.monotonicMs();
      try {
        await options.run(signal);
        backoff.reset();
        waitMs = options.intervalMs();
      } catch (error) {
        if (signal.aborted) return;
        options.failed(error);
        waitMs = backoff.nextMs();
      }
    }
  };
  const finished = loop();
  return {
    poke() {
      poked = true;
      wake();
    },
    done: () => finished,
  };
}
