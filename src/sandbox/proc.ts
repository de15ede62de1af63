import { readFileSync } from 'node:fs';

/** A file of the kernel's, or of the machine's, as text; undefined when it is not there or not for us to read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

/**
 * What `/proc/PID/stat` tells of a process from the third field on: the second is the name in brackets, which may hold
 * anything, brackets included. Undefined when the process is gone.
 *
 * @see proc_pid_stat(5)
 */
export function processFields(pid: number | 'self'): string[] | undefined {
  const text = readText(`/proc/${pid}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** Places of what we read in `processFields`. */
export const PROCESS_FIELD = { state: 0, parent: 1, startTicks: 19 } as const;
