import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Clock, createSystemClock } from '../../src/core/clock.js';
import { createPatientTimer } from '../../src/core/patient-timer.js';

const system = createSystemClock();

/** Blocks this thread, as a host that computes for too long does. */
const block = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** When the timer called back, milliseconds after its start; undefined while it has not. */
function started(clock: Clock, timeoutMs: number) {
  const startMs = performance.now();
  const found: { afterMs: number | undefined } = { afterMs: undefined };
  const timer = createPatientTimer(clock, timeoutMs, () => {
    found.afterMs = performance.now() - startMs;
  });
  return { found, timer };
}

describe('a patient timer', () => {
  it('calls back once its time has passed, not before, and never after it was cleared', async () => {
    const { found, timer } = started(system, 200);
    const cleared = started(system, 200);
    cleared.timer.clear();
    await sleep(120);
    expect(found.afterMs).toBeUndefined();
    while (found.afterMs === undefined) await sleep(10);
    expect(found.afterMs).toBeGreaterThanOrEqual(195);
    timer.restart();
    await sleep(300);
    expect(cleared.found.afterMs).toBeUndefined();
  });

  it('has its whole time again after a restart', async () => {
    const { found, timer } = started(system, 300);
    await sleep(200);
    timer.restart();
    await sleep(200);
    expect(found.afterMs).toBeUndefined();
    while (found.afterMs === undefined) await sleep(10);
    expect(found.afterMs).toBeGreaterThanOrEqual(490);
  });

  it('C164: leaves as much time after a block of the loop as was lost, up to the whole', async () => {
    const { found, timer } = started(system, 300);
    await sleep(20);
    block(1_000);
    // a plain timer would be over in the first turn of the loop
    await sleep(100);
    expect(found.afterMs).toBeUndefined();
    expect(timer.stalled()).toBe(true);
    while (found.afterMs === undefined) await sleep(10);
    expect(found.afterMs).toBeGreaterThanOrEqual(1_300);
  });

  it('C174: has its whole time again after a sleep of the machine, through which the monotonic clock stands still', async () => {
    let asleepMs = 0;
    const clock: Clock = { monotonicMs: system.monotonicMs, unixMs: () => system.unixMs() + asleepMs };
    const { found } = started(clock, 400);
    await sleep(250);
    asleepMs = 8 * 3_600_000;
    await sleep(250);
    expect(found.afterMs).toBeUndefined();
    while (found.afterMs === undefined) await sleep(10);
    expect(found.afterMs).toBeGreaterThanOrEqual(600);
  });

  it('C172: is delayed by a wall clock that is set, once, and not stopped', async () => {
    let setMs = 0;
    const clock: Clock = { monotonicMs: system.monotonicMs, unixMs: () => system.unixMs() + setMs };
    const { found } = started(clock, 200);
    setMs = -10 * 365 * 86_400_000;
    for (let i = 0; i < 200 && found.afterMs === undefined; i++) await sleep(10);
    expect(found.afterMs).toBeDefined();
  });
});
