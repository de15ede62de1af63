/** Bounds of an exponential wait. */
export interface BackoffOptions {
  /** First wait in milliseconds. */
  firstMs: number;
  /** Longest wait in milliseconds. */
  maxMs: number;
  /** Share of the wait that is random, 0 to 1; spreads retries of many. */
  jitter: number;
}

/** Waits that double up to a bound. */
export interface Backoff {
  /** The next wait in milliseconds. */
  nextMs(): number;
  /** Starts again from the first wait. */
  reset(): void;
}

/** Makes a backoff; `random` gives numbers in [0, 1). */
export function createBackoff(options: BackoffOptions, random: () => number): Backoff {
  let attempt = 0;
  return {
    nextMs() {
      const full = Math.min(options.maxMs, options.firstMs * 2 ** Math.min(attempt, 30));
      attempt += 1;
      return Math.round(full * (1 - options.jitter * random()));
    },
    reset() {
      attempt = 0;
    },
  };
}
