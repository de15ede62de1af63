import type { z } from 'zod';
import { integer, table } from './field.js';
import type { AskedLimits } from './manifest.js';

/** A day in milliseconds; no timeout of a module is longer. */
export const DAY_MS = 86_400_000;
/** Largest amount of memory or disk that may be written, MiB (16 TiB): keeps byte counts exact in a double. */
const MAX_MIB = 16 * 1024 * 1024;

/** An amount of memory or disk, MiB. */
export const mebibytes = () => integer('BAD_VALUE', 1, MAX_MIB);

/** A duration of at most a day, milliseconds. */
export const milliseconds = () => integer('BAD_VALUE', 1, DAY_MS);

/** `[limits]`: of a manifest what the module asks, of the operator's file what is allowed. */
export const limitsTable = () =>
  table({
    memory_mb: mebibytes().optional(),
    cpu_percent: integer('BAD_VALUE', 1, 6400).optional(),
    pids: integer('BAD_VALUE', 1, 65_536).optional(),
    open_files: integer('BAD_VALUE', 16, 1_048_576).optional(),
    data_mb: mebibytes().optional(),
    start_timeout_ms: milliseconds().optional(),
    stop_timeout_ms: milliseconds().optional(),
  });

/** The limits of a table by the names of the house; what was not written is absent. */
export function limitsOf(limits: z.output<ReturnType<typeof limitsTable>> | undefined): AskedLimits {
  const asked = {
    memoryMb: limits?.memory_mb,
    cpuPercent: limits?.cpu_percent,
    pids: limits?.pids,
    openFiles: limits?.open_files,
    dataMb: limits?.data_mb,
    startTimeoutMs: limits?.start_timeout_ms,
    stopTimeoutMs: limits?.stop_timeout_ms,
  };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
}
