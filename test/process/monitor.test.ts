import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createMonitor, type MonitorOptions } from '../../src/process/monitor.js';

/** A monitor whose story is written down. */
function watch(probe: MonitorOptions<string>['probe'], times: { intervalMs?: number; timeoutMs?: number } = {}) {
  const told: string[] = [];
  const startMs = performance.now();
  const ends: { hungMs: number | undefined } = { hungMs: undefined };
  const monitor = createMonitor({
    probe,
    intervalMs: 60,
    timeoutMs: 60,
    misses: 3,
    clock: createSystemClock(),
    ...times,
    onAnswer: (answer) => told.push(answer),
    onMiss: (missed, why) => told.push(`miss ${missed} ${why.reason}`),
    onHung(why) {
      told.push(`hung ${why.reason}`);
      ends.hungMs = performance.now() - startMs;
    },
  });
  return { told, monitor, ends };
}

const until = async (holds: () => boolean): Promise<void> => {
  for (let i = 0; i < 1_000 && !holds(); i++) await sleep(10);
};

describe('a monitor', () => {
  it('asks again and again, the first time after one interval', async () => {
    const { told, monitor } = watch(async () => 'fine');
    expect(told).toEqual([]);
    await until(() => told.length >= 3);
    monitor.stop();
    const { length } = told;
    await sleep(200);
    expect(told).toEqual(Array(length).fill('fine'));
  });

  it('C140: calls three misses in a row hung, once, and is over', async () => {
    const { told, ends } = watch(() => new Promise(() => {}));
    await until(() => ends.hungMs !== undefined);
    await sleep(200);
    expect(told).toEqual([...[1, 2, 3].map((n) => `miss ${n} DEADLINE_EXCEEDED`), 'hung DEADLINE_EXCEEDED']);
  });

  it('begins to count anew after an answer', async () => {
    let asked = 0;
    const { told, monitor } = watch(async () => {
      asked += 1;
      if (asked % 3 !== 0) throw new HostError('MODULE_UNAVAILABLE', 'not now');
      return 'fine';
    });
    await until(() => told.length >= 6);
    monitor.stop();
    const round = ['miss 1 MODULE_UNAVAILABLE', 'miss 2 MODULE_UNAVAILABLE', 'fine'];
    expect(told.slice(0, 6)).toEqual([...round, ...round]);
  });

  it('tells nothing of a probe that is under way when it is stopped', async () => {
    let answer: (text: string) => void = () => {};
    const { told, monitor } = watch(
      () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
      { timeoutMs: 100 },
    );
    await sleep(100);
    monitor.stop();
    answer('late');
    await sleep(200);
    expect(told).toEqual([]);
  });

  it('C164: hears an answer that came while its own loop stood still, whatever the deadline says', async () => {
    // somebody who answers at once, from a thread of its own
    const echo = new Worker(
      "require('worker_threads').parentPort.on('message', (m) => require('worker_threads').parentPort.postMessage(m))",
      { eval: true },
    );
    await new Promise((resolve) => echo.once('online', resolve));
    let blocked = 0;
    const { told, monitor } = watch(
      () =>
        new Promise((resolve) => {
          echo.once('message', resolve);
          echo.postMessage('fine');
          blocked += 1;
          // the answer lies unread for longer than three deadlines
          if (blocked <= 4) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
        }),
    );
    await until(() => told.length >= 6);
    monitor.stop();
    await echo.terminate();
    expect(told.slice(0, 6)).toEqual(Array(6).fill('fine'));
  });

  it('C164: asks again, uncounted, when what it asks gave up during a stall', async () => {
    let asked = 0;
    const { told, monitor } = watch(async (timeoutMs) => {
      asked += 1;
      if (asked > 3) return 'fine';
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      await sleep(1);
      throw new HostError('DEADLINE_EXCEEDED', `not within ${timeoutMs} ms`);
    });
    await until(() => told.length >= 1);
    monitor.stop();
    expect(told).toEqual(['fine']);
    expect(asked).toBe(4);
  });
});
