import { constants } from 'node:os';

/** How a module's process ended; told once. */
export interface ExitReport {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  /** Signal that ended it; null when it exited. */
  readonly signal: NodeJS.Signals | null;
  /**
   * False where a sandbox told 128 + a signal's number: a program that itself exits with such a code cannot be told from
   * one that the signal ended, and is reported as the latter.
   */
  readonly isCertain: boolean;
  /** Processes that the kernel killed because the module's memory was spent; undefined where nobody counts them. */
  readonly oomKills: number | undefined;
  /** Last 4 KiB of standard error, escaped. */
  readonly stderrTail: string;
  /** True when the host had asked it to stop or killed it. */
  readonly requested: boolean;
}

/** Shells and sandboxes add this to a signal's number. */
const SIGNAL_OFFSET = 128;

/** What is known of an end by its status alone. */
export type ExitStatus = Pick<ExitReport, 'code' | 'signal' | 'isCertain'>;

/** Code and signal of a process; `translated` where a launcher stood between it and the host and may have told a signal as a code. */
export function decodeExit(code: number | null, signal: NodeJS.Signals | null, translated: boolean): ExitStatus {
  if (!translated || signal !== null || code === null || code <= SIGNAL_OFFSET) {
    return { code, signal, isCertain: true };
  }
  const name = Object.entries(constants.signals).find(([, number]) => number === code - SIGNAL_OFFSET)?.[0];
  return name === undefined
    ? { code, signal: null, isCertain: true }
    : { code: null, signal: name as NodeJS.Signals, isCertain: false };
}

/** One phrase for people: `exited with code 1`, `was ended by SIGSEGV`, with the kernel's lack of memory as the cause. */
export function describeExit({ code, signal, isCertain, oomKills }: ExitStatus & Pick<ExitReport, 'oomKills'>): string {
  if (signal === null) return `exited with code ${code}${outOfMemory(oomKills)}`;
  const number = SIGNAL_OFFSET + constants.signals[signal];
  // The counter says for certain what the status leaves open.
  const doubt = isCertain || (oomKills ?? 0) > 0 ? '' : ` (or exited with code ${number}, which looks the same)`;
  return `was ended by ${signal}${doubt}${outOfMemory(oomKills)}`;
}

function outOfMemory(oomKills: number | undefined): string {
  return (oomKills ?? 0) > 0
    ? `: its memory limit was reached, and the kernel killed ${oomKills} of its processes`
    : '';
}
