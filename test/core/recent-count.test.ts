import { expect, it } from 'vitest';
import { createRecentCount } from '../../src/core/recent-count.js';

it('counts what came up within the window, the most frequent first, and forgets the rest', () => {
  let nowMs = 5_000;
  const recent = createRecentCount<string>({ monotonicMs: () => nowMs, unixMs: () => 0 }, 1_000);
  recent.add('a');
  nowMs += 500;
  for (const word of ['b', 'a', 'b', 'b']) recent.add(word);
  expect(recent.counts()).toEqual([
    { word: 'b', count: 3 },
    { word: 'a', count: 2 },
  ]);
  nowMs += 600;
  expect(recent.counts()).toEqual([
    { word: 'b', count: 3 },
    { word: 'a', count: 1 },
  ]);
  nowMs += 10_000;
  expect(recent.counts()).toEqual([]);
});

it('keeps a bounded number of words, and goes on counting those that it has', () => {
  const recent = createRecentCount<string>({ monotonicMs: () => 0, unixMs: () => 0 }, 1_000);
  for (let i = 0; i < 1_000; i++) recent.add(`w${i}`);
  recent.add('w0');
  expect(recent.counts()).toHaveLength(64);
  expect(recent.counts()[0]).toEqual({ word: 'w0', count: 2 });
});
