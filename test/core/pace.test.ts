import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createPace, rest } from '../../src/core/pace.js';

/** Keeps the loop for this long. */
function busy(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('the pace of one party on the event loop', () => {
  it('does its pieces in their order, each in a turn of its own', async () => {
    const pace = createPace();
    const seen: string[] = [];
    const pieces = ['first', 'second', 'third'].map((name) => pace.run(() => seen.push(name)));
    expect(seen).toEqual([]);
    await turn();
    expect(seen.length).toBeLessThanOrEqual(1);
    expect(await Promise.all(pieces)).toEqual([1, 2, 3]);
    expect(seen).toEqual(['first', 'second', 'third']);
  });

  it('lets two parties go beside each other', async () => {
    const [one, other] = [createPace(), createPace()];
    const seen: string[] = [];
    const long = [1, 2, 3].map((n) =>
      one.run(() => {
        busy(5);
        seen.push(`long ${n}`);
      }),
    );
    await other.run(() => seen.push('other'));
    await Promise.all(long);
    expect(seen.indexOf('other')).toBeLessThan(2);
  });

  it('goes on behind a piece that fails, which fails for its own caller alone', async () => {
    const pace = createPace();
    const broken = pace.run(() => {
      throw new Error('no luck');
    });
    const next = pace.run(() => 'done');
    await expect(broken).rejects.toThrow('no luck');
    expect(await next).toBe('done');
  });

  it('does not do what nobody waits for any more', async () => {
    const pace = createPace();
    const gone = new AbortController();
    const seen: string[] = [];
    const long = pace.run(() => busy(3));
    const given = pace.run(() => seen.push('given up'), 60_000, gone.signal);
    const next = pace.run(() => seen.push('next'));
    gone.abort(new Error('the caller is gone'));
    await expect(given).rejects.toThrow('the caller is gone');
    await Promise.all([long, next]);
    expect(seen).toEqual(['next']);
  });

  it('rests until nobody else is at work, and no longer', async () => {
    let over = false;
    let left = 0;
    const others = (async () => {
      for (; left < 5; left += 1) {
        busy(2);
        await turn();
      }
      over = true;
    })();
    await rest(60_000, true);
    expect(over).toBe(true);
    await others;
    await rest(60_000, true);
  });

  it('rests for as long as others are at work at most', async () => {
    let stop = false;
    const others = (async () => {
      while (!stop) {
        busy(1);
        await turn();
      }
    })();
    await rest(20, true);
    stop = true;
    await others;
    await sleep(0);
  });
});
