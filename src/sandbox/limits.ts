/** What one module may consume, and how long its start and stop may take. */
export interface ResourceLimits {
  /** Memory of all its processes, MiB. */
  readonly memoryMb: number;
  /** Share of one core, percent; 200 = two cores. */
  readonly cpuPercent: number;
  /** Processes and threads at one time. */
  readonly pids: number;
  /** Open files of one process. */
  readonly openFiles: number;
  /** Its data directory, MiB. */
  readonly dataMb: number;
  /** From spawn, or its last word that it is starting, to Ready, milliseconds. */
  readonly startTimeoutMs: number;
  /** From SIGTERM to SIGKILL, milliseconds. */
  readonly stopTimeoutMs: number;
}

/** What a module gets that asks for nothing; sized for a Raspberry Pi with several modules beside the node. */
export const DEFAULT_LIMITS: ResourceLimits = {
  memoryMb: 512,
  cpuPercent: 50,
  pids: 128,
  openFiles: 256,
  dataMb: 512,
  startTimeoutMs: 60_000,
  stopTimeoutMs: 10_000,
};

/** Some of the limits; the absent and the undefined ones are left to somebody else. */
export type SomeLimits = { readonly [K in keyof ResourceLimits]?: ResourceLimits[K] | undefined };

const KEYS = Object.keys(DEFAULT_LIMITS) as readonly (keyof ResourceLimits)[];

/**
 * The limits that hold for one module: what its manifest asks, or the default, never above the operator's caps; what the
 * operator wrote for this very module stands over all of it, caps included.
 */
export function effectiveLimits(asked: SomeLimits, caps: SomeLimits = {}, overrides: SomeLimits = {}): ResourceLimits {
  const limits: Record<keyof ResourceLimits, number> = { ...DEFAULT_LIMITS };
  for (const key of KEYS) {
    const wanted = asked[key] ?? DEFAULT_LIMITS[key];
    limits[key] = overrides[key] ?? Math.min(wanted, caps[key] ?? wanted);
  }
  return limits;
}
