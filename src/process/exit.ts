import { constants } from 'node:os';

/** How a module's process ended; told once. */
export interface ExitReport {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  /**
   * Signal that ended it; null when it exited. A sandbox tells a signal as 128 + its number, so a program that itself
   * exits with such a code is reported as ended by the signal.
   */
  readonly signal: NodeJS.Signals | null;
  /** Last 4 KiB of standard error, escaped. */
  readonly stderrTail: string;
  /** True when the host had asked it to stop or killed it. */
  readonly requested: boolean;
}

/** Shells and sandboxes add this to a signal's number. */
const SIGNAL_OFFSET = 128;

/** Code and signal of a process whose end a launcher may have translated. */
export function decodeExit(code: number | null, signal: NodeJS.Signals | null): Pick<ExitReport, 'code' | 'signal'> {
  if (signal !== null || code === null || code <= SIGNAL_OFFSET) return { code, signal };
  const name = Object.entries(constants.signals).find(([, number]) => number === code - SIGNAL_OFFSET)?.[0];
  return name === undefined ? { code, signal: null } : { code: null, signal: name as NodeJS.Signals };
}

/** One sentence for people: `exited with code 1`, `was ended by SIGSEGV`. */
export function describeExit({ code, signal }: Pick<ExitReport, 'code' | 'signal'>): string {
  return signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
}
