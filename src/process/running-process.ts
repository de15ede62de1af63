import type { ExitReport } from './exit.js';

/** One module's process, from its start to its end. */
export interface RunningProcess {
  /** Pid of the module's own program on the host, not of a launcher. */
  readonly pid: number;
  /** How it ended; never rejects. All output has been heard by then. */
  readonly exited: Promise<ExitReport>;
  /** Asks it to end by SIGTERM, kills it with all its children after `graceMs`, and waits for the end. */
  stop(graceMs: number): Promise<ExitReport>;
  /** Kills it with all its children at once, and waits for the end. */
  kill(): Promise<ExitReport>;
  /** Last 4 KiB of standard error, escaped. */
  stderrTail(): string;
}
