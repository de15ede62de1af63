import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import { createTokenBucket } from '../core/token-bucket.js';

/** Bounds of one session's calls. */
export interface CallQuotaOptions {
  /** Weight per second that refills the budget. */
  ratePerSecond: number;
  /** Most weight that may be spent at once. */
  burst: number;
  /** Calls that may run at the same time, streams included. */
  maxInFlight: number;
}

/** Plain calls per second, by weight: what a module may cost the host before it is told to wait. */
export const DEFAULT_CALL_RATE = 1_000;
/** Weight that may be spent at once: a module that starts up reads a lot. */
export const DEFAULT_CALL_BURST = 2_000;
/** HTTP/2 allows 100 streams per connection and 4 connections; a well-behaved module stays far below. */
export const DEFAULT_CALLS_IN_FLIGHT = 128;

/** The budget of one session. */
export interface CallQuota {
  /** Takes the weight of one call and a place in flight; the answer gives the place back. @throws RATE_LIMITED, TOO_MANY_CALLS */
  enter(weight: number): () => void;
  /** Calls in flight at this moment. */
  inFlight(): number;
}

/** Makes a full budget. */
export function createCallQuota(options: CallQuotaOptions, clock: Clock): CallQuota {
  const bucket = createTokenBucket(options, clock);
  let running = 0;
  return {
    enter(weight) {
      if (running >= options.maxInFlight) {
        throw new HostError('TOO_MANY_CALLS', `${options.maxInFlight} calls are in flight already`, {
          retryAfterMs: 50,
        });
      }
      const waitMs = bucket.take(weight);
      if (waitMs > 0) {
        throw new HostError('RATE_LIMITED', `the call budget of ${options.ratePerSecond} per second is spent`, {
          retryAfterMs: waitMs,
        });
      }
      running += 1;
      let entered = true;
      return () => {
        if (!entered) return;
        entered = false;
        running -= 1;
      };
    },
    inFlight: () => running,
  };
}
