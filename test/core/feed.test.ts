import { describe, expect, it } from 'vitest';
import { createFeed } from '../../src/core/feed.js';

const all = (): boolean => true;

/** An item of one of several sources. */
interface Line {
  source: string;
  n: number;
}

describe('a feed', () => {
  it('forgets the oldest items beyond its number', () => {
    const feed = createFeed<number>({ maxItems: 3, maxWeight: Number.POSITIVE_INFINITY, weigh: () => 1 });
    for (let i = 0; i < 5_000; i++) feed.push(i);
    expect(feed.tail(10, all)).toEqual([4_997, 4_998, 4_999]);
  });

  it('forgets the oldest items beyond its weight, never the newest', () => {
    const feed = createFeed<string>({ maxItems: 100, maxWeight: 10, weigh: (text) => text.length });
    for (const text of ['aaaa', 'bbbb', 'cc', 'dd']) feed.push(text);
    expect(feed.tail(10, all)).toEqual(['bbbb', 'cc', 'dd']);
    feed.push('x'.repeat(50));
    expect(feed.tail(10, all)).toEqual(['x'.repeat(50)]);
  });

  it('follows from the tail on without a hole, and counts what a slow reader lost', async () => {
    const feed = createFeed<number>({ maxItems: 10, maxWeight: 10, weigh: () => 1 });
    for (let i = 0; i < 4; i++) feed.push(i);
    const end = new AbortController();
    const reader = feed.follow(all, end.signal, 2);
    expect((await reader.next()).value).toEqual({ items: [2, 3], lost: 0 });
    const next = reader.next();
    for (let i = 4; i < 2_000; i++) feed.push(i);
    expect((await next).value?.items[0]).toBe(4 + 1_996 - 1_000);
    end.abort();
    expect((await reader.next()).done).toBe(true);
  });

  it('C158: forgets of the source that holds most, in its memory and for a slow reader; keeps the order over all', async () => {
    const bounds = { maxItems: 2_000, maxWeight: 10_000, weigh: ({ n }: Line) => (n % 2 === 0 ? 3 : 7) };
    const feed = createFeed<Line>({ ...bounds, sourceOf: ({ source }) => source });
    const reader = feed.follow(all, new AbortController().signal);
    const first = reader.next();
    for (let n = 0; n < 50_000; n += 1) {
      feed.push({ source: 'flood', n });
      if (n % 1_000 === 0) for (const source of ['a', 'b']) feed.push({ source, n });
    }
    const kept = feed.tail(10_000, all);
    for (const source of ['a', 'b']) expect(kept.filter((line) => line.source === source)).toHaveLength(50);
    expect(kept.filter(({ source }) => source === 'flood').length).toBeGreaterThan(1_800);
    expect(kept.length).toBeLessThanOrEqual(2_000);
    expect(kept.map(({ n }) => n)).toEqual(kept.map(({ n }) => n).sort((x, y) => x - y));
    const { items, lost } = (await first).value as { items: Line[]; lost: number };
    for (const source of ['a', 'b']) expect(items.filter((line) => line.source === source)).toHaveLength(50);
    expect(items.length + lost).toBe(50_100);
    feed.push({ source: 'b', n: 50_001 });
    expect(feed.tail(1, all)).toEqual([{ source: 'b', n: 50_001 }]);
  });

  it('ends its followers when it closes', async () => {
    const feed = createFeed<number>({ maxItems: 1, maxWeight: 1, weigh: () => 1 });
    const next = feed.follow(all, new AbortController().signal).next();
    feed.close();
    expect((await next).done).toBe(true);
  });
});
