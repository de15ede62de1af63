import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Session } from '../../session/session.js';
import type { Appointment, Schedule } from './schedule.js';

/** Timers and waiting tasks of one module together; `Limits.max_timers`. */
export const MAX_TIMERS = 64;
/**
 * Time that a tick has for its answer, milliseconds: its interval within these bounds. A callback may be slower than its
 * period, ticks are missed then; one that never answers must not stop its timer for good.
 */
export const TICK_TIMEOUT_MS = { least: 60_000, most: 600_000 } as const;
/** Time that a task has for its answer, milliseconds. */
export const TASK_TIMEOUT_MS = 600_000;
/** A task that found the module's places taken is tried again after this time, milliseconds. */
const RETRY_MS = 100;
/**
 * Time after the opening of a Serve stream before tasks that wait are sent, milliseconds: the module's first message, which
 * bounds how much it takes at a time, is on its way.
 */
const FIRST_WORD_MS = 20;

/** One running timer, as it is told. */
export interface TimerFacts {
  readonly id: bigint;
  readonly name: string;
  readonly intervalMs: number;
  readonly ticks: bigint;
  readonly missed: bigint;
  readonly nextInMs: number;
}

/** One waiting task, as it is told. */
export interface TaskFacts {
  readonly id: bigint;
  readonly name: string;
  readonly dueInMs: number;
}

/** Timers and tasks of one session. They end with it, and with the permission to have them. */
export interface SessionTimers {
  /** @returns the timer's id @throws QUOTA_EXCEEDED */
  register(name: string, intervalMs: number): bigint;
  /** Ends a timer; false when there is no such timer. A tick that has gone out stays to be answered. */
  cancelTimer(id: bigint): boolean;
  /** @returns the task's id @throws QUOTA_EXCEEDED */
  scheduleTask(name: string, delayMs: number, payload: Uint8Array): bigint;
  /** Takes a task back; false when there is none that has not gone out. */
  cancelTask(id: bigint): boolean;
  /** Running timers, by ascending id. */
  timers(): TimerFacts[];
  /** Waiting tasks, by ascending id. */
  tasks(): TaskFacts[];
  /** Both together. */
  count(): number;
}

interface Timer {
  readonly id: bigint;
  readonly name: string;
  readonly intervalMs: number;
  readonly startMs: number;
  /** Ticks that fell due. */
  ticks: number;
  missed: number;
  /** Ticks missed since the last one that went out. */
  missedSince: number;
  /** The tick that waits for its answer. */
  open: { sent: boolean } | undefined;
  appointment: Appointment;
  /** Takes back a tick that has not gone out. */
  readonly end: AbortController;
}

interface Task {
  readonly id: bigint;
  readonly name: string;
  readonly payload: Uint8Array;
  readonly dueMs: number;
  appointment: Appointment | undefined;
  /** True while it is handed to the module, until it has gone out. */
  offered: boolean;
  readonly end: AbortController;
}

/** Makes the timers of one session: there are none. */
export function createSessionTimers(session: Session, schedule: Schedule, clock: Clock): SessionTimers {
  const { invocations } = session;
  const timers = new Map<bigint, Timer>();
  const tasks = new Map<bigint, Task>();
  let lastId = 0n;
  let over = false;

  const takePlace = (): bigint => {
    if (over) throw new HostError('SESSION_CLOSED', 'the session has ended');
    if (timers.size + tasks.size >= MAX_TIMERS) {
      throw new HostError('QUOTA_EXCEEDED', `the module has ${MAX_TIMERS} timers and tasks already; cancel some first`);
    }
    lastId += 1n;
    return lastId;
  };

  const deliver = async (timer: Timer): Promise<void> => {
    const told = timer.missedSince;
    const tick = { sent: false };
    timer.open = tick;
    timer.missedSince = 0;
    try {
      await invocations.ask(
        {
          $case: 'timer',
          value: { timerId: timer.id, name: timer.name, tick: BigInt(timer.ticks), missed: BigInt(told) },
        },
        {
          timeoutMs: Math.min(TICK_TIMEOUT_MS.most, Math.max(TICK_TIMEOUT_MS.least, timer.intervalMs)),
          signal: timer.end.signal,
          onSent() {
            tick.sent = true;
          },
        },
      );
    } catch {
      // whatever became of it, the timer goes on; that the module does not answer shows in its own status
      if (!tick.sent) {
        timer.missed += 1;
        timer.missedSince += told + 1;
      }
    } finally {
      timer.open = undefined;
    }
  };
  const isDue = (timer: Timer): void => {
    // several at once when the host stood still: one is sent, the others are missed
    const fallen = Math.floor((clock.monotonicMs() - timer.startMs) / timer.intervalMs) - timer.ticks;
    if (fallen > 0) {
      timer.ticks += fallen;
      const canSend = timer.open === undefined && invocations.serving();
      const missed = canSend ? fallen - 1 : fallen;
      timer.missed += missed;
      timer.missedSince += missed;
      if (canSend) void deliver(timer);
    }
    timer.appointment = schedule.at(timer.startMs + (timer.ticks + 1) * timer.intervalMs, () => isDue(timer));
  };

  const again = (task: Task, inMs: number): void => {
    task.appointment = schedule.at(clock.monotonicMs() + inMs, () => void send(task));
  };
  const send = async (task: Task): Promise<void> => {
    task.appointment = undefined;
    // whoever opens a stream hears of it
    if (task.offered || !invocations.serving()) return;
    task.offered = true;
    try {
      await invocations.ask(
        { $case: 'task', value: { taskId: task.id, name: task.name, payload: task.payload } },
        { timeoutMs: TASK_TIMEOUT_MS, signal: task.end.signal, onSent: () => void tasks.delete(task.id) },
      );
    } catch (error) {
      task.offered = false;
      // it comes once: what has gone out is not repeated
      if (!tasks.has(task.id) || over) return;
      // without a stream the next one is waited for; it may be there already
      if (HostError.from(error).reason !== 'MODULE_UNAVAILABLE' || invocations.serving()) again(task, RETRY_MS);
    }
  };
  const stopListening = invocations.onServing(() => {
    for (const task of tasks.values()) {
      if (!task.offered && task.appointment === undefined) again(task, FIRST_WORD_MS);
    }
  });

  const dropTimer = (timer: Timer): void => {
    timers.delete(timer.id);
    timer.appointment.cancel();
    if (timer.open?.sent === false) timer.end.abort();
  };
  const dropTask = (task: Task): void => {
    tasks.delete(task.id);
    task.appointment?.cancel();
    task.end.abort();
  };
  const clear = (): void => {
    for (const timer of [...timers.values()]) dropTimer(timer);
    for (const task of [...tasks.values()]) dropTask(task);
  };
  session.grants.onWithdraw('MANAGE_TIMERS', clear);
  session.ended.addEventListener(
    'abort',
    () => {
      over = true;
      stopListening();
      clear();
    },
    { once: true },
  );

  return {
    register(name, intervalMs) {
      const id = takePlace();
      const startMs = clock.monotonicMs();
      const timer: Timer = {
        id,
        name,
        intervalMs,
        startMs,
        ticks: 0,
        missed: 0,
        missedSince: 0,
        open: undefined,
        appointment: schedule.at(startMs + intervalMs, () => isDue(timer)),
        end: new AbortController(),
      };
      timers.set(id, timer);
      return id;
    },
    cancelTimer(id) {
      const timer = timers.get(id);
      if (timer !== undefined) dropTimer(timer);
      return timer !== undefined;
    },
    scheduleTask(name, delayMs, payload) {
      const id = takePlace();
      const task: Task = {
        id,
        name,
        payload,
        dueMs: clock.monotonicMs() + delayMs,
        appointment: undefined,
        offered: false,
        end: new AbortController(),
      };
      tasks.set(id, task);
      again(task, delayMs);
      return id;
    },
    cancelTask(id) {
      const task = tasks.get(id);
      if (task !== undefined) dropTask(task);
      return task !== undefined;
    },
    timers() {
      const now = clock.monotonicMs();
      return [...timers.values()].map(({ id, name, intervalMs, startMs, ticks, missed }) => ({
        id,
        name,
        intervalMs,
        ticks: BigInt(ticks),
        missed: BigInt(missed),
        nextInMs: Math.max(0, Math.ceil(startMs + (ticks + 1) * intervalMs - now)),
      }));
    },
    tasks() {
      const now = clock.monotonicMs();
      return [...tasks.values()].map(({ id, name, dueMs }) => ({
        id,
        name,
        dueInMs: Math.max(0, Math.ceil(dueMs - now)),
      }));
    },
    count: () => timers.size + tasks.size,
  };
}
