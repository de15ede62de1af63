import { describe, expect, it } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import type { Clock } from '../../src/core/clock.js';
import { createCallQuota } from '../../src/session/quota.js';

/** A clock that stands until it is moved. */
function createStillClock() {
  let now = 0;
  const clock: Clock = { monotonicMs: () => now, unixMs: () => 1_700_000_000_000 + now };
  return {
    clock,
    pass(ms: number) {
      now += ms;
    },
  };
}

const refusal = (enter: () => unknown): HostError | undefined => {
  try {
    enter();
    return undefined;
  } catch (error) {
    return HostError.from(error);
  }
};

describe('the call budget of a session', () => {
  it('charges the weight of a call, all of it or nothing', () => {
    const { clock } = createStillClock();
    const quota = createCallQuota({ ratePerSecond: 100, burst: 25, maxInFlight: 100 }, clock);
    quota.enter(10)();
    quota.enter(10)();
    // 5 are left: a call of 10 costs nothing when it is refused
    expect(refusal(() => quota.enter(10))).toMatchObject({ reason: 'RATE_LIMITED', retryAfterMs: 50 });
    quota.enter(5)();
    expect(refusal(() => quota.enter(1))).toMatchObject({ reason: 'RATE_LIMITED', retryAfterMs: 10 });
  });

  it('refills with time up to the burst, and the wait it names is enough', () => {
    const { clock, pass } = createStillClock();
    const quota = createCallQuota({ ratePerSecond: 100, burst: 25, maxInFlight: 100 }, clock);
    quota.enter(25)();
    const wait = refusal(() => quota.enter(10))?.retryAfterMs ?? 0;
    pass(wait - 1);
    expect(refusal(() => quota.enter(10))?.reason).toBe('RATE_LIMITED');
    pass(1);
    quota.enter(10)();
    pass(3_600_000);
    quota.enter(25)();
    expect(refusal(() => quota.enter(1))?.reason).toBe('RATE_LIMITED');
  });

  it('charges a call that weighs more than the burst as the burst, so that it can run at all', () => {
    const { clock, pass } = createStillClock();
    const quota = createCallQuota({ ratePerSecond: 10, burst: 5, maxInFlight: 100 }, clock);
    quota.enter(200)();
    expect(refusal(() => quota.enter(200))).toMatchObject({ reason: 'RATE_LIMITED', retryAfterMs: 500 });
    pass(500);
    quota.enter(200)();
  });

  it('bounds calls in flight; a call refused for that costs no budget, and its place comes back once', () => {
    const { clock } = createStillClock();
    const quota = createCallQuota({ ratePerSecond: 1, burst: 4, maxInFlight: 2 }, clock);
    const leave = quota.enter(1);
    quota.enter(1);
    for (let i = 0; i < 10; i++) {
      const refused = refusal(() => quota.enter(1));
      expect(refused?.reason).toBe('TOO_MANY_CALLS');
      expect(refused?.retryAfterMs).toBeGreaterThan(0);
    }
    leave();
    leave();
    expect(quota.inFlight()).toBe(1);
    quota.enter(1);
    expect(quota.inFlight()).toBe(2);
  });
});
