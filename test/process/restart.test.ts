import { describe, expect, it } from 'vitest';
import type { Manifest } from '../../src/manifest/manifest.js';
import { createRestartBook, DEFAULT_RESTART_TIMES, type RestartVerdict } from '../../src/process/restart.js';

function book(rules: Partial<Manifest['restart']> = {}, random = 0) {
  const at = { ms: 1_000_000 };
  const made = createRestartBook({
    rules: () => ({ policy: 'on-failure', maxCrashes: 5, windowS: 600, ...rules }),
    times: DEFAULT_RESTART_TIMES,
    clock: { monotonicMs: () => at.ms, unixMs: () => 0 },
    random: () => random,
  });
  return { ...made, at };
}
const waitOf = (verdict: RestartVerdict): number | string => (verdict.next === 'restart' ? verdict.inMs : verdict.next);

describe('a restart book', () => {
  it('C142: waits 1, 2, 4, 8 s and holds the module at its fifth crash within the window', () => {
    const { crashed, recentCrashes } = book();
    expect([1, 2, 3, 4, 5].map(() => waitOf(crashed(0)))).toEqual([1_000, 2_000, 4_000, 8_000, 'quarantine']);
    expect(recentCrashes()).toBe(5);
  });

  it('never waits longer than the bound, and takes a random share off each wait', () => {
    const { crashed } = book({ maxCrashes: 1_000 });
    expect(Array.from({ length: 12 }, () => waitOf(crashed(0))).slice(5)).toEqual([32_000, ...Array(6).fill(60_000)]);
    expect(waitOf(book({}, 0.5).crashed(0))).toBe(900);
  });

  it('begins with the first wait again after a healthy time, but crashes still count', () => {
    const { crashed, at } = book({ maxCrashes: 4 });
    crashed(0);
    crashed(0);
    at.ms += 70_000;
    expect(waitOf(crashed(DEFAULT_RESTART_TIMES.healthyAfterMs))).toBe(1_000);
    expect(waitOf(crashed(59_999))).toBe('quarantine');
  });

  it('forgets crashes that have left the window, and all of them at the operator’s word', () => {
    const { crashed, recentCrashes, forget, at } = book({ maxCrashes: 2, windowS: 10 });
    crashed(0);
    at.ms += 10_001;
    expect(recentCrashes()).toBe(0);
    expect(crashed(0).next).toBe('restart');
    expect(crashed(0).next).toBe('quarantine');
    forget();
    expect(recentCrashes()).toBe(0);
    expect(waitOf(crashed(0))).toBe(1_000);
  });

  it('answers an end with code 0 only under always, where it counts too', () => {
    expect(book().ended(0).next).toBe('stay');
    expect(book({ policy: 'never' }).ended(0).next).toBe('stay');
    const { ended, recentCrashes } = book({ policy: 'always', maxCrashes: 2 });
    expect([waitOf(ended(0)), waitOf(ended(0))]).toEqual([1_000, 'quarantine']);
    expect(recentCrashes()).toBe(2);
  });

  it('leaves a module down whose policy is never, and still counts', () => {
    const { crashed, recentCrashes } = book({ policy: 'never' });
    expect([crashed(0).next, crashed(0).next]).toEqual(['stay', 'stay']);
    expect(recentCrashes()).toBe(2);
  });
});
