import { vi } from 'vitest';
import type { Invocation, InvocationResult } from '../../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../../src/contract/error.js';
import type { Clock } from '../../../src/core/clock.js';
import { createSchedule } from '../../../src/services/timer/schedule.js';
import { createSessionTimers } from '../../../src/services/timer/session-timers.js';
import { createGrants } from '../../../src/session/grants.js';
import { createInvocationDesk } from '../../../src/session/invocation-desk.js';
import type { InvocationStream } from '../../../src/session/invocations.js';
import type { Session } from '../../../src/session/session.js';

/** Clocks that a test moves; the platform's timers move with them. Begin with `vi.useFakeTimers()`. */
export function createTestClock() {
  let monotonicMs = 5_000;
  let unixMs = Date.UTC(2026, 0, 1);
  const clock: Clock = { monotonicMs: () => monotonicMs, unixMs: () => unixMs };
  return {
    clock,
    /** Time passes for everybody. */
    async pass(ms: number, stepMs = 10) {
      for (let left = ms; left > 0; left -= stepMs) {
        const step = Math.min(stepMs, left);
        monotonicMs += step;
        unixMs += step;
        await vi.advanceTimersByTimeAsync(step);
      }
    },
    /** The host stands still, or sleeps on a machine whose monotonic clock runs on; then it wakes. */
    async standStill(ms: number) {
      monotonicMs += ms;
      unixMs += ms;
      await vi.advanceTimersByTimeAsync(ms);
    },
    setWallClock(byMs: number) {
      unixMs += byMs;
    },
  };
}

/** One session's timers over real invocations; the test is the module. */
export function createTimerRig(clock: Clock, schedule = createSchedule(clock)) {
  const end = new AbortController();
  const desk = createInvocationDesk({ moduleId: 'ticker', clock, onViolation: () => {} });
  const grants = createGrants(['MANAGE_TIMERS']);
  const session = { invocations: desk, grants, ended: end.signal } as unknown as Session;
  const timers = createSessionTimers(session, schedule, clock);
  const got: Invocation[] = [];
  let stream: InvocationStream | undefined;

  const pull = async (from: InvocationStream, answer: boolean): Promise<void> => {
    for (;;) {
      const batch = await from.next().catch(() => undefined);
      if (batch === undefined) return;
      got.push(...batch.invocations);
      if (answer) from.answer(batch.invocations.map(({ id }) => done(id)));
    }
  };
  return {
    schedule,
    timers,
    grants,
    desk,
    /** Work that went out, in order. */
    got,
    /** Opens the module's Serve stream; with `answer` each piece of work is answered at once. */
    serve(answer = true, maxConcurrent = 0) {
      stream = desk.attach();
      stream.bound(maxConcurrent);
      void pull(stream, answer);
    },
    answer: (id: bigint) => stream?.answer([done(id)]),
    stopServing: () => stream?.close(),
    endSession() {
      const why = new HostError('SESSION_CLOSED', 'over');
      desk.close(why);
      end.abort(why);
      grants.withdrawAll();
    },
  };
}

/** Ticks among what went out: number, and missed before it. */
export function ticks(got: readonly Invocation[]): { tick: bigint; missed: bigint }[] {
  return got.flatMap(({ work }) =>
    work?.$case === 'timer' ? [{ tick: work.value.tick, missed: work.value.missed }] : [],
  );
}

/** Names of the tasks that went out, in order. */
export function tasks(got: readonly Invocation[]): string[] {
  return got.flatMap(({ work }) => (work?.$case === 'task' ? [work.value.name] : []));
}

function done(id: bigint): InvocationResult {
  return { id, outcome: { $case: 'done', value: {} } };
}
