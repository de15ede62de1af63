import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import { createPatientTimer, type PatientTimer } from '../core/patient-timer.js';

/** Probes missed in a row after which a module counts as hung. With the default times that is at most 12 s. */
export const HUNG_AFTER_MISSES = 3;

/** What a monitor asks, how often, and who hears of it. */
export interface MonitorOptions<Answer> {
  /** Asks the module once. Rejects when it cannot be asked or has not answered within the time, milliseconds. */
  probe(timeoutMs: number): Promise<Answer>;
  /** From the start of one probe to the start of the next, milliseconds. */
  intervalMs: number;
  /** Time for one answer, milliseconds. */
  timeoutMs: number;
  /** Misses in a row that count as hung. */
  misses: number;
  clock: Clock;
  onAnswer(answer: Answer): void;
  /** Hears of each miss, and how many there are in a row. */
  onMiss(missed: number, why: HostError): void;
  /** The module is hung; told once, and the monitor is over. */
  onHung(why: HostError): void;
}

/** Watches whether one module answers. */
export interface Monitor {
  /** Ends it: no probe begins, and no answer or miss is told any more. Idempotent. */
  stop(): void;
}

/**
 * Probes a module until it is stopped, the first time one interval from now. A host that stood still never makes a module
 * look dead: time in which the host's own loop did not turn is no time to answer in, and a probe that failed around a stall
 * is asked again instead of being counted.
 */
export function createMonitor<Answer>(options: MonitorOptions<Answer>): Monitor {
  const { clock, intervalMs, timeoutMs } = options;
  let missed = 0;
  let pause: NodeJS.Timeout | undefined;
  let deadline: PatientTimer | undefined;
  let over = false;

  const stop = (): void => {
    over = true;
    clearTimeout(pause);
    deadline?.clear();
  };

  const pauseUntilNext = (startedMs: number): void => {
    if (!over) pause = setTimeout(ask, Math.max(0, intervalMs - (clock.monotonicMs() - startedMs)));
  };

  const miss = (why: HostError, startedMs: number): void => {
    missed += 1;
    options.onMiss(missed, why);
    if (over) return;
    if (missed >= options.misses) {
      stop();
      options.onHung(why);
    } else {
      pauseUntilNext(startedMs);
    }
  };

  const ask = (): void => {
    const startedMs = clock.monotonicMs();
    let settled = false;
    /** True for the first outcome of this probe, while anybody wants it. */
    const settle = (): boolean => {
      if (settled || over) return false;
      settled = true;
      timer.clear();
      return true;
    };
    const timer = createPatientTimer(clock, timeoutMs, () => {
      if (settle()) miss(new HostError('DEADLINE_EXCEEDED', `no answer within ${timeoutMs} ms`), startedMs);
    });
    deadline = timer;
    const asking = options.probe(timeoutMs);
    asking.then(
      (answer) => {
        if (!settle()) return;
        missed = 0;
        options.onAnswer(answer);
        pauseUntilNext(startedMs);
      },
      (error: unknown) => {
        const stalled = timer.stalled();
        if (!settle()) return;
        if (stalled) ask();
        else miss(HostError.from(error), startedMs);
      },
    );
  };

  pause = setTimeout(ask, intervalMs);
  return { stop };
}
