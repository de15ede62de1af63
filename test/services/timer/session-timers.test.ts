import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSchedule } from '../../../src/services/timer/schedule.js';
import { MAX_TIMERS } from '../../../src/services/timer/session-timers.js';
import { createTestClock, createTimerRig, tasks, ticks } from './rig.js';

const DAY_MS = 86_400_000;
const NOTHING = new Uint8Array();

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate'] }));
afterEach(() => void vi.useRealTimers());

const start = () => {
  const time = createTestClock();
  return { time, ...createTimerRig(time.clock) };
};

describe('a timer', () => {
  it('ticks first one interval after its registration, then in whole intervals, with numbers and without misses', async () => {
    const { time, timers, serve, got } = start();
    serve();
    timers.register('block', 1_000);
    await time.pass(990);
    expect(got).toEqual([]);
    await time.pass(20);
    expect(ticks(got)).toEqual([{ tick: 1n, missed: 0n }]);
    await time.pass(3_000);
    expect(ticks(got).map(({ tick }) => tick)).toEqual([1n, 2n, 3n, 4n]);
    expect(timers.timers()).toMatchObject([{ id: 1n, name: 'block', intervalMs: 1_000, ticks: 4n, missed: 0n }]);
    expect(timers.timers()[0]?.nextInMs).toBeLessThanOrEqual(1_000);
  });

  it('C115: does not overlap when its callback is slower than its period; what it misses is counted and told', async () => {
    const { time, timers, serve, got, answer } = start();
    serve(false);
    timers.register('slow', 100);
    await time.pass(1_050);
    expect(ticks(got)).toEqual([{ tick: 1n, missed: 0n }]);
    expect(timers.timers()).toMatchObject([{ ticks: 10n, missed: 9n }]);
    answer(1n);
    await time.pass(100);
    expect(ticks(got)).toEqual([
      { tick: 1n, missed: 0n },
      { tick: 11n, missed: 9n },
    ]);
  });

  it('goes on after a tick that is never answered, which is given up after 60 seconds', async () => {
    const { time, timers, serve, got } = start();
    serve(false);
    timers.register('silent', 1_000);
    await time.pass(60_500, 50);
    expect(ticks(got)).toHaveLength(1);
    await time.pass(2_000, 50);
    expect(ticks(got)).toHaveLength(2);
    expect(ticks(got)[1]?.tick).toBe(1n + (ticks(got)[1]?.missed ?? 0n) + 1n);
  });

  it('misses ticks while nobody serves, and tells them with the next', async () => {
    const { time, timers, serve, stopServing, got } = start();
    timers.register('early', 100);
    await time.pass(550);
    serve();
    await time.pass(100);
    expect(ticks(got)).toEqual([{ tick: 6n, missed: 5n }]);
    stopServing();
    await time.pass(300);
    serve();
    await time.pass(100);
    expect(ticks(got).at(-1)).toEqual({ tick: 10n, missed: 3n });
    expect(timers.timers()).toMatchObject([{ ticks: 10n, missed: 8n }]);
  });

  it('misses a tick that could not go out before the stream broke, because the module took no more', async () => {
    const { time, timers, serve, stopServing, got } = start();
    serve(false, 1);
    timers.register('first', 100);
    timers.register('second', 100);
    await time.pass(1_050);
    expect(ticks(got)).toHaveLength(1);
    expect(timers.timers()).toMatchObject([{ missed: 9n }, { missed: 9n }]);
    stopServing();
    await time.pass(10);
    expect(timers.timers()).toMatchObject([{ missed: 9n }, { missed: 10n }]);
    serve();
    await time.pass(100);
    expect(ticks(got).slice(1)).toEqual([
      { tick: 11n, missed: 9n },
      { tick: 11n, missed: 10n },
    ]);
  });

  it('C113: keeps intervals beyond the largest of the platform, and does not fire at once', async () => {
    const { time, timers, serve, got } = start();
    serve();
    timers.register('long', 2 ** 31);
    timers.register('longest', 2 ** 32 - 1);
    await time.pass(3 * 3_600_000, 3_600_000);
    expect(got).toEqual([]);
    await time.pass(2 ** 31 - 3 * 3_600_000 + 2_000, 3_600_000);
    expect(ticks(got)).toEqual([{ tick: 1n, missed: 0n }]);
  });

  it('C116: ends when it is cancelled, in its own callback too; a second time there is none', async () => {
    const { time, timers, serve, got, answer } = start();
    serve(false);
    const id = timers.register('once', 100);
    await time.pass(120);
    expect(ticks(got)).toHaveLength(1);
    expect(timers.cancelTimer(id)).toBe(true);
    expect(timers.cancelTimer(id)).toBe(false);
    answer(1n);
    await time.pass(1_000);
    expect(got).toHaveLength(1);
    expect(timers.count()).toBe(0);
  });

  it('C116: knows no id of another session, whatever it is', () => {
    const time = createTestClock();
    const schedule = createSchedule(time.clock);
    const [mine, other] = [createTimerRig(time.clock, schedule), createTimerRig(time.clock, schedule)];
    const id = other.timers.register('theirs', 1_000);
    expect(mine.timers.cancelTimer(id)).toBe(false);
    expect(mine.timers.cancelTask(id)).toBe(false);
    expect(other.timers.timers()).toHaveLength(1);
  });

  it('sends no tick after the answer to its cancellation that had not gone out', async () => {
    const { time, timers, serve, got, answer } = start();
    serve(false, 1);
    timers.register('first', 100);
    const second = timers.register('second', 100);
    await time.pass(130);
    expect(got).toHaveLength(1);
    timers.cancelTimer(second);
    answer(1n);
    await time.pass(20);
    expect(got).toHaveLength(1);
  });

  it('C174: fires once after eight hours in which the machine slept, and tells what it missed', async () => {
    const { time, timers, serve, got } = start();
    serve();
    timers.register('minutely', 60_000);
    timers.scheduleTask('soon', 3_600_000, NOTHING);
    await time.pass(1_000);
    await time.standStill(8 * 3_600_000);
    await time.pass(100);
    expect(ticks(got)).toEqual([{ tick: 480n, missed: 479n }]);
    expect(tasks(got)).toEqual(['soon']);
    await time.pass(60_000, 100);
    expect(ticks(got).at(-1)).toEqual({ tick: 481n, missed: 0n });
  });

  it('C174: waits for the rest of its time where the monotonic clock sleeps with the machine', async () => {
    const { time, timers, serve, got } = start();
    serve();
    timers.register('minutely', 60_000);
    await time.pass(30_000, 100);
    time.setWallClock(8 * 3_600_000);
    await time.pass(29_900, 100);
    expect(got).toEqual([]);
    await time.pass(200);
    expect(ticks(got)).toEqual([{ tick: 1n, missed: 0n }]);
  });

  it('C172: is not touched by a wall clock that goes ten years on or back, and no task is either', async () => {
    for (const years of [10, -10]) {
      const { time, timers, serve, got } = start();
      serve();
      timers.register('steady', 1_000);
      timers.scheduleTask('later', 3_500, NOTHING);
      await time.pass(1_500);
      time.setWallClock(years * 365 * DAY_MS);
      await time.pass(1_600);
      expect(ticks(got).map(({ tick }) => tick)).toEqual([1n, 2n, 3n]);
      expect(tasks(got)).toEqual([]);
      await time.pass(500);
      expect(tasks(got)).toEqual(['later']);
    }
  });
});

describe('a task', () => {
  it('comes once when it is due, in order of the time, with its payload', async () => {
    const { time, timers, serve, got } = start();
    serve();
    timers.scheduleTask('b', 200, Uint8Array.of(2));
    timers.scheduleTask('a', 100, Uint8Array.of(1));
    timers.scheduleTask('now', 0, NOTHING);
    await time.pass(1_000);
    expect(tasks(got)).toEqual(['now', 'a', 'b']);
    expect(got[1]?.work).toEqual({ $case: 'task', value: { taskId: 2n, name: 'a', payload: Uint8Array.of(1) } });
    expect(timers.tasks()).toEqual([]);
  });

  it('waits for the next stream when nobody serves, and is due in 0 meanwhile', async () => {
    const { time, timers, serve, got } = start();
    timers.scheduleTask('first', 100, NOTHING);
    timers.scheduleTask('second', 200, NOTHING);
    await time.pass(5_000, 100);
    expect(timers.tasks()).toMatchObject([{ dueInMs: 0 }, { dueInMs: 0 }]);
    serve();
    await time.pass(100);
    expect(tasks(got)).toEqual(['first', 'second']);
    expect(timers.count()).toBe(0);
  });

  it('is not repeated when the stream broke after it had gone out, and is when it had not', async () => {
    const { time, timers, serve, stopServing, got } = start();
    serve(false, 1);
    timers.scheduleTask('out', 0, NOTHING);
    timers.scheduleTask('kept', 0, NOTHING);
    await time.pass(50);
    expect(tasks(got)).toEqual(['out']);
    expect(timers.tasks().map(({ name }) => name)).toEqual(['kept']);
    stopServing();
    await time.pass(50);
    serve();
    await time.pass(100);
    expect(tasks(got)).toEqual(['out', 'kept']);
  });

  it('C116: is taken back until it has gone out, and not after', async () => {
    const { time, timers, serve, got } = start();
    serve(false, 1);
    const out = timers.scheduleTask('out', 0, NOTHING);
    const queued = timers.scheduleTask('queued', 0, NOTHING);
    const later = timers.scheduleTask('later', 1_000, NOTHING);
    await time.pass(50);
    expect(timers.cancelTask(out)).toBe(false);
    expect(timers.cancelTask(queued)).toBe(true);
    expect(timers.cancelTask(queued)).toBe(false);
    expect(timers.cancelTask(later)).toBe(true);
    await time.pass(2_000);
    expect(tasks(got)).toEqual(['out']);
  });

  it('is tried again while the module has too much open', async () => {
    const { time, timers, desk, serve, got, answer } = start();
    serve(false);
    const others = Array.from({ length: 64 }, () =>
      desk.ask({ $case: 'configChange', value: { configJson: '{}', changedKeys: [] } }, { timeoutMs: 600_000 }),
    );
    timers.scheduleTask('patient', 0, NOTHING);
    await time.pass(500);
    expect(tasks(got)).toEqual([]);
    answer(1n);
    await time.pass(200);
    expect(tasks(got)).toEqual(['patient']);
    for (let id = 2n; id <= 64n; id++) answer(id);
    await Promise.all(others);
  });
});

describe('timers and tasks of a session', () => {
  it(`C114: are at most ${MAX_TIMERS} together, however often one tries; a place that is given up is free`, async () => {
    const { time, timers, schedule, serve } = start();
    for (let i = 0; i < 40; i++) timers.register('', 1_000_000);
    for (let i = 0; i < 24; i++) timers.scheduleTask('', 1_000, NOTHING);
    for (let i = 0; i < 20_000; i++) {
      try {
        timers.register('', 1_000);
        throw new Error('one too many');
      } catch (error) {
        if ((error as { reason?: string }).reason !== 'QUOTA_EXCEEDED') throw error;
      }
    }
    expect(timers.count()).toBe(MAX_TIMERS);
    expect(schedule.size()).toBe(MAX_TIMERS);
    serve();
    await time.pass(1_100);
    expect(timers.count()).toBe(40);
  });

  it('C117: are gone with it at once, and nothing of them comes any more', async () => {
    const { time, timers, serve, schedule, got, endSession } = start();
    serve();
    for (let i = 0; i < 60; i++) timers.register('', 100 + i);
    for (let i = 0; i < 4; i++) timers.scheduleTask('', 300, NOTHING);
    await time.pass(150);
    const before = got.length;
    endSession();
    expect(schedule.size()).toBe(0);
    expect(timers.count()).toBe(0);
    await time.pass(2_000);
    expect(got).toHaveLength(before);
    expect(vi.getTimerCount()).toBe(0);
    expect(() => timers.register('', 100)).toThrow(expect.objectContaining({ reason: 'SESSION_CLOSED' }));
  });

  it('end when the permission to have them is withdrawn', async () => {
    const { time, timers, serve, grants, schedule, got } = start();
    serve();
    timers.register('', 100);
    timers.scheduleTask('', 100, NOTHING);
    grants.withdraw('MANAGE_TIMERS');
    expect(schedule.size()).toBe(0);
    await time.pass(500);
    expect(got).toEqual([]);
  });
});
