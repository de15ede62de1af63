import { describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import { createPlaces } from '../../src/network/places.js';
import { createNameResolver } from '../../src/network/resolver.js';

describe('the resolver', () => {
  it('sees names as programs of this machine do, and answers with nothing where there is nothing', async () => {
    const resolver = createNameResolver(createSystemClock());
    const texts = (await resolver.lookup('localhost')).map(({ text }) => text);
    expect(texts.some((text) => text === '127.0.0.1' || text === '::1')).toBe(true);
    expect(await resolver.lookup('name.invalid')).toEqual([]);
  });
});

describe('places', () => {
  it('are bounded, and so is the line before them', async () => {
    const places = createPlaces(2, 1);
    const running: (() => void)[] = [];
    let most = 0;
    let now = 0;
    const work = () =>
      places.run(async () => {
        now += 1;
        most = Math.max(most, now);
        await new Promise<void>((resolve) => running.push(resolve));
        now -= 1;
        return 'done';
      });
    const answers = [work(), work(), work(), work()];
    expect(await answers[3]).toBeUndefined();
    while (running.length > 0) {
      running.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await Promise.all(answers)).toEqual(['done', 'done', 'done', undefined]);
    expect(most).toBe(2);
    await expect(places.run(() => Promise.reject(new Error('broken')))).rejects.toThrow();
    const again = work();
    await new Promise((resolve) => setImmediate(resolve));
    running.shift()?.();
    expect(await again).toBe('done');
  });
});
