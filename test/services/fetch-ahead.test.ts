import { describe, expect, it } from 'vitest';
import { fetchAhead } from '../../src/services/fetch-ahead.js';

const items = Array.from({ length: 20 }, (_, index) => index);
const pause = () => new Promise((resolve) => setImmediate(resolve));

describe('fetchAhead', () => {
  it('keeps the order of the items, whatever the order of the answers', async () => {
    const results: number[] = [];
    const { signal } = new AbortController();
    const fetched = fetchAhead(items, 3, signal, async (item) => {
      for (let turns = item % 4; turns > 0; turns--) await pause();
      return item;
    });
    for await (const result of fetched) results.push(result);
    expect(results).toEqual(items);
  });

  it('never has more under way than the one waited for and `ahead` others', async () => {
    let underWay = 0;
    let most = 0;
    const { signal } = new AbortController();
    const fetched = fetchAhead(items, 2, signal, async () => {
      underWay += 1;
      most = Math.max(most, underWay);
      await pause();
      underWay -= 1;
    });
    for await (const _ of fetched) await pause();
    expect(most).toBe(3);
  });

  it('tells a failure at its turn, aborts the rest, and leaves no rejection unhandled', async () => {
    const results: number[] = [];
    const aborted: number[] = [];
    const fetched = fetchAhead(items, 3, new AbortController().signal, async (item, signal) => {
      signal.addEventListener('abort', () => aborted.push(item));
      if (item === 2 || item === 3) throw new Error(`item ${item}`);
      return item;
    });
    const read = async () => {
      for await (const result of fetched) results.push(result);
    };
    await expect(read()).rejects.toThrow('item 2');
    expect(results).toEqual([0, 1]);
    expect(aborted).toContain(5);
  });

  it('aborts what is under way when the reader leaves or the call is cancelled', async () => {
    let aborts = 0;
    const never = (_item: number, signal: AbortSignal) =>
      new Promise<number>((_, reject) => {
        const stop = () => {
          aborts += 1;
          reject(new Error('stopped'));
        };
        if (signal.aborted) stop();
        else signal.addEventListener('abort', stop);
      });
    const controller = new AbortController();
    const waiting = fetchAhead(items, 2, controller.signal, never).next();
    controller.abort();
    await expect(waiting).rejects.toThrow('stopped');
    expect(aborts).toBe(3);

    const some = fetchAhead(items, 2, new AbortController().signal, async (item, signal) =>
      item === 0 ? 0 : never(item, signal),
    );
    await some.next();
    await some.return();
    expect(aborts).toBe(5);
  });
});
