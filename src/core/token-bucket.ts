import type { Clock } from './clock.js';

/** Size and refill of a budget. */
export interface BucketOptions {
  /** Tokens added per second. */
  ratePerSecond: number;
  /** Most tokens that the bucket holds; also what it starts with. */
  burst: number;
}

/** A budget that refills with time: what a call costs is taken at once or not at all. */
export interface TokenBucket {
  /** Takes `cost` tokens; answers 0, or the milliseconds until they would be there, having taken nothing. */
  take(cost: number): number;
}

/** Makes a full bucket on the monotonic clock. A cost above the burst is charged as the burst, so no call starves. */
export function createTokenBucket(options: BucketOptions, clock: Clock): TokenBucket {
  let tokens = options.burst;
  let last = clock.monotonicMs();
  return {
    take(cost) {
      const now = clock.monotonicMs();
      tokens = Math.min(options.burst, tokens + ((now - last) * options.ratePerSecond) / 1000);
      last = now;
      const price = Math.min(cost, options.burst);
      if (tokens >= price) {
        tokens -= price;
        return 0;
      }
      return Math.max(1, Math.ceil(((price - tokens) * 1000) / options.ratePerSecond));
    },
  };
}
