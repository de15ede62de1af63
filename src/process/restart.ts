import { createBackoff } from '../core/backoff.js';
import type { Clock } from '../core/clock.js';
import type { Manifest } from '../manifest/manifest.js';

/** First wait before a crashed module is started again, milliseconds; it doubles from crash to crash. */
export const FIRST_RESTART_MS = 1_000;
/** Longest wait between two starts, milliseconds: whatever has been cured outside is noticed within it. */
export const MAX_RESTART_MS = 60_000;
/** Share of each wait that is random: modules that fell together do not all come back in one moment. */
export const RESTART_JITTER = 0.2;
/** A module that was Ready for this long has come up well, milliseconds; its next wait is the first again. */
export const HEALTHY_AFTER_MS = 60_000;

/** Times of the restart policy that do not stand in the manifest. */
export interface RestartTimes {
  /** First wait, milliseconds. */
  firstMs: number;
  /** Longest wait, milliseconds. */
  maxMs: number;
  /** Share of the wait that is random, 0 to 1. */
  jitter: number;
  /** Ready for this long resets the waits, milliseconds. */
  healthyAfterMs: number;
}

/** The times of a host to which nobody has said anything else. */
export const DEFAULT_RESTART_TIMES: RestartTimes = {
  firstMs: FIRST_RESTART_MS,
  maxMs: MAX_RESTART_MS,
  jitter: RESTART_JITTER,
  healthyAfterMs: HEALTHY_AFTER_MS,
};

/** What follows the end of a module that nobody asked to end. */
export type RestartVerdict =
  /** It is started again after a wait, milliseconds. */
  | { readonly next: 'restart'; readonly inMs: number }
  /** It has crashed too often: only the operator starts it again. */
  | { readonly next: 'quarantine'; readonly crashes: number; readonly windowS: number }
  /** Its policy says that it stays away. */
  | { readonly next: 'stay' };

/** One module's crashes, and what follows from them. */
export interface RestartBook {
  /** It ended in failure. `readyMs`: how long it had been Ready, milliseconds; 0 when it never was. */
  crashed(readyMs: number): RestartVerdict;
  /** It ended with code 0 after it was Ready: no failure, yet nobody had asked. */
  ended(readyMs: number): RestartVerdict;
  /** Crashes within the window that the policy counts. */
  recentCrashes(): number;
  /** The operator starts it anew: its crashes no longer count, and the first wait is the first again. */
  forget(): void;
}

/** What a restart book is made of. */
export interface RestartBookOptions {
  /** `[restart]` of the manifest in force. */
  rules(): Manifest['restart'];
  times: RestartTimes;
  clock: Clock;
  /** Random numbers in [0, 1). */
  random(): number;
}

/**
 * Makes the book of one module. With `on-failure` a crash is answered by a restart and an end with code 0 is not, with
 * `always` both are, with `never` neither. The crash that fills the window puts the module into quarantine; ends with code 0
 * that `always` answers count as well, so that no policy burns the processor.
 */
export function createRestartBook(options: RestartBookOptions): RestartBook {
  const { clock, times } = options;
  const backoff = createBackoff(times, options.random);
  let crashes: number[] = [];

  const recent = (): number[] => {
    const sinceMs = clock.monotonicMs() - options.rules().windowS * 1_000;
    crashes = crashes.filter((atMs) => atMs > sinceMs);
    return crashes;
  };
  const again = (readyMs: number): RestartVerdict => {
    const { maxCrashes, windowS } = options.rules();
    if (recent().length >= maxCrashes) return { next: 'quarantine', crashes: crashes.length, windowS };
    if (readyMs >= times.healthyAfterMs) backoff.reset();
    return { next: 'restart', inMs: backoff.nextMs() };
  };

  return {
    crashed(readyMs) {
      crashes.push(clock.monotonicMs());
      return options.rules().policy === 'never' ? { next: 'stay' } : again(readyMs);
    },
    ended(readyMs) {
      if (options.rules().policy !== 'always') return { next: 'stay' };
      crashes.push(clock.monotonicMs());
      return again(readyMs);
    },
    recentCrashes: () => recent().length,
    forget() {
      crashes = [];
      backoff.reset();
    },
  };
}
