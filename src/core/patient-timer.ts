import type { Clock } from './clock.js';

/** Longest stretch that is waited for at once, milliseconds: a stall is noticed within it. */
const MAX_SLICE_MS = 250;
/** Lateness of a timer that a busy machine has now and then, milliseconds; beyond it the host itself stood still. */
const USUAL_LATENESS_MS = 100;
/**
 * Difference between what the wall clock and the monotonic clock tell of one stretch, milliseconds, from which on the
 * machine was asleep: on Linux the monotonic clock stands still meanwhile, so that no timer is late.
 */
const ASLEEP_MS = 2_000;

/** A deadline that runs until it is over or cleared. */
export interface PatientTimer {
  /** Starts it again from its whole time, if it still runs. */
  restart(): void;
  /** Ends it; it never calls back from here on. Idempotent. */
  clear(): void;
  /** True when the host stood still while it ran, just now included. */
  stalled(): boolean;
}

/**
 * Makes a deadline over time in which the host was able to hear an answer. It waits in short stretches; one that ends late
 * tells that the host's own loop was blocked, or the machine asleep, and then at least as much time is left as was lost, up
 * to the whole: what arrived meanwhile lies unread, and who was to answer may have been asleep as well.
 *
 * A wall clock that is set looks like a sleep, and gives no more than one further round.
 */
export function createPatientTimer(clock: Clock, timeoutMs: number, onTimeout: () => void): PatientTimer {
  const sliceMs = Math.min(MAX_SLICE_MS, Math.max(1, Math.ceil(timeoutMs / 4)));
  let timer: NodeJS.Timeout | undefined;
  let last: NodeJS.Immediate | undefined;
  let leftMs = timeoutMs;
  let dueMs = 0;
  let dueUnixMs = 0;
  let stalled = false;
  let over = false;

  const lateness = (): number => {
    const lateMs = clock.monotonicMs() - dueMs;
    const asleep = Math.abs(clock.unixMs() - dueUnixMs - lateMs) > ASLEEP_MS;
    return asleep ? timeoutMs : lateMs;
  };
  const arm = (): void => {
    const ms = Math.min(sliceMs, leftMs);
    dueMs = clock.monotonicMs() + ms;
    dueUnixMs = clock.unixMs() + ms;
    timer = setTimeout(() => {
      leftMs -= ms;
      const lateMs = lateness();
      if (lateMs > USUAL_LATENESS_MS) {
        stalled = true;
        leftMs = Math.max(leftMs, Math.min(timeoutMs, lateMs));
      }
      if (leftMs > 0) return arm();
      // what has arrived in this very turn of the loop is heard first
      last = setImmediate(() => {
        over = true;
        onTimeout();
      });
    }, ms);
  };
  arm();
  return {
    restart() {
      if (over) return;
      clearTimeout(timer);
      clearImmediate(last);
      leftMs = timeoutMs;
      arm();
    },
    clear() {
      over = true;
      clearTimeout(timer);
      clearImmediate(last);
    },
    stalled: () => stalled || lateness() > USUAL_LATENESS_MS,
  };
}
