import type { ScheduleTaskRequest, TimerServiceService } from '../../../gen/ts/modhost/v1/timer.js';
import { HostError } from '../../contract/error.js';
import type { ServiceImpl } from '../../contract/service.js';
import type { Clock } from '../../core/clock.js';
import type { Session } from '../../session/session.js';
import { requireMessage, requireRange } from '../check.js';
import { createSchedule } from './schedule.js';
import { createSessionTimers, type SessionTimers } from './session-timers.js';

/** Shortest interval of a timer, milliseconds: more often than this a module follows events or keeps a clock of its own. */
export const MIN_TIMER_INTERVAL_MS = 100;
/** Longest interval, milliseconds: what the contract's field holds. */
const MAX_TIMER_INTERVAL_MS = 0xffff_ffff;
/** How far ahead a task may lie, milliseconds: a spawn hardly lives a year, and a leap year has 366 days. */
const MAX_TASK_DELAY_MS = 366 * 86_400_000;
/** Longest name of a timer or task, bytes. */
const MAX_NAME_BYTES = 64;
/** Longest payload of a task, bytes: the module's data belong into its storage, a key of it into the payload. */
const MAX_PAYLOAD_BYTES = 65_536;

/** The timers and tasks of all modules of a host. */
export interface Timers {
  /** Answers TimerService for one spawn. */
  serve(session: Session): ServiceImpl<typeof TimerServiceService>;
  /** Timers and waiting tasks of a session; 0 for one that has none or has ended. */
  count(session: Session): number;
  /** Calls off what is left. */
  close(): void;
}

/** Makes the timers of one host. */
export function createTimers(clock: Clock): Timers {
  const schedule = createSchedule(clock);
  const bySession = new WeakMap<Session, SessionTimers>();
  return {
    serve(session) {
      const timers = createSessionTimers(session, schedule, clock);
      bySession.set(session, timers);
      return createTimerService(timers, clock);
    },
    count: (session) => bySession.get(session)?.count() ?? 0,
    close: () => schedule.close(),
  };
}

/** Answers TimerService with the timers of one session. */
export function createTimerService(timers: SessionTimers, clock: Clock): ServiceImpl<typeof TimerServiceService> {
  return {
    async registerTimer({ intervalMs, name }) {
      requireRange(intervalMs, MIN_TIMER_INTERVAL_MS, MAX_TIMER_INTERVAL_MS, 'interval_ms');
      return { timerId: timers.register(requireName(name), intervalMs) };
    },
    async cancelTimer({ timerId }) {
      if (timers.cancelTimer(timerId)) return {};
      throw new HostError('NOT_FOUND', `this session has no timer ${timerId}`);
    },
    async scheduleTask({ when, name, payload }) {
      const delayMs = requireDelay(when, clock);
      if (payload.byteLength > MAX_PAYLOAD_BYTES) {
        throw new HostError('OUT_OF_RANGE', `payload has ${payload.byteLength} bytes, at most ${MAX_PAYLOAD_BYTES}`);
      }
      return { taskId: timers.scheduleTask(requireName(name), delayMs, payload) };
    },
    async cancelTask({ taskId }) {
      if (timers.cancelTask(taskId)) return {};
      throw new HostError('NOT_FOUND', `this session has no task ${taskId} that has not been sent`);
    },
    async listTimers() {
      return {
        timers: timers.timers().map(({ id, ...facts }) => ({ timerId: id, ...facts })),
        tasks: timers.tasks().map(({ id, name, dueInMs }) => ({ taskId: id, name, dueInMs: BigInt(dueInMs) })),
      };
    },
  };
}

function requireName(name: string): string {
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new HostError('OUT_OF_RANGE', `name has more than ${MAX_NAME_BYTES} bytes`);
  }
  return name;
}

/** Milliseconds until the task is due: a moment of the wall clock is turned into a delay once, here. */
function requireDelay(given: ScheduleTaskRequest['when'], clock: Clock): number {
  const when = requireMessage(given, 'when');
  const delayMs = when.$case === 'delayMs' ? when.value : when.value - BigInt(Math.floor(clock.unixMs()));
  if (delayMs <= 0n) return 0;
  return Number(
    requireRange(delayMs, 0n, BigInt(MAX_TASK_DELAY_MS), when.$case === 'delayMs' ? 'delay_ms' : 'at_unix_ms'),
  );
}
