import type { Clock } from '../core/clock.js';
import { createPatientTimer, type PatientTimer } from '../core/patient-timer.js';

/** A deadline that begins once, may be moved while it runs, and is over when it is cleared. */
export interface Deadline {
  begin(): void;
  /** Gives the whole time anew; nothing when it does not run. */
  extend(): void;
  clear(): void;
}

/** Makes a deadline of `timeoutMs`; time in which the host itself stood still does not count. */
export function createDeadline(clock: Clock, timeoutMs: number, onTimeout: () => void): Deadline {
  let timer: PatientTimer | undefined;
  return {
    begin() {
      timer ??= createPatientTimer(clock, timeoutMs, onTimeout);
    },
    extend: () => timer?.restart(),
    clear() {
      timer?.clear();
      timer = undefined;
    },
  };
}
