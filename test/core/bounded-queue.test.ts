import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBoundedQueue } from '../../src/core/bounded-queue.js';

/** Seed of the random runs; shown in their titles. */
const SEED = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);

const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('offer' as const), bytes: fc.integer({ min: 0, max: 12 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('take' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
);

describe('a bounded queue', () => {
  it(`behaves as a plain list with two bounds does, whatever is done to it (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(operation, { maxLength: 200 }), (maxItems, operations) => {
        const maxBytes = 30;
        const queue = createBoundedQueue<number>({ maxItems, maxBytes });
        let waiting: { item: number; bytes: number }[] = [];
        const sum = (): number => waiting.reduce((total, item) => total + item.bytes, 0);
        let id = 0;
        for (const step of operations) {
          if (step.kind === 'offer') {
            id += 1;
            const full = waiting.length >= maxItems;
            const over = sum() + step.bytes > maxBytes;
            expect(queue.offer(id, step.bytes)).toBe(full ? 'full' : over ? 'over-bytes' : 'queued');
            if (!full && !over) waiting.push({ item: id, bytes: step.bytes });
          } else if (step.kind === 'take') {
            expect(queue.peek()).toBe(waiting[0]?.item);
            expect(queue.take()).toEqual(waiting.shift());
          } else {
            expect(queue.clear()).toEqual({ items: waiting.length, bytes: sum() });
            waiting = [];
          }
          expect(queue.size).toBe(waiting.length);
          expect(queue.bytes).toBe(sum());
        }
      }),
      { seed: SEED },
    );
  });
});
