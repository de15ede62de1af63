/**
 * The two clocks of the house. Intervals, deadlines and budgets use `monotonicMs`, which no change of the wall clock
 * moves; only what people or other machines read uses `unixMs`.
 */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC by the wall clock. */
  unixMs(): number;
}

/** The clock of this machine. */
export function createSystemClock(): Clock {
  return { monotonicMs: () => performance.now(), unixMs: () => Date.now() };
}
