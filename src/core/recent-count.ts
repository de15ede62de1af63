import type { Clock } from './clock.js';

/** Stretches into which a window is divided: the count forgets in steps of a tenth. */
const STRETCHES = 10;
/** Different words that one counter keeps; they come from closed lists, which are longer but never all in use. */
const MAX_WORDS = 64;

/** How often each word has come up lately. */
export interface RecentCount<Word extends string> {
  add(word: Word): void;
  /** Words that came up within the window, with how often, the most frequent first. */
  counts(): { word: Word; count: number }[];
}

/** Makes a counter over the last `windowMs` milliseconds; what it holds is bounded whatever comes. */
export function createRecentCount<Word extends string>(clock: Clock, windowMs: number): RecentCount<Word> {
  const stretchMs = windowMs / STRETCHES;
  let stretches: { at: number; counts: Map<Word, number> }[] = [];
  const current = (): Map<Word, number> => {
    const at = Math.floor(clock.monotonicMs() / stretchMs);
    stretches = stretches.filter((stretch) => stretch.at > at - STRETCHES);
    const last = stretches.at(-1);
    if (last?.at === at) return last.counts;
    const counts = new Map<Word, number>();
    stretches.push({ at, counts });
    return counts;
  };
  return {
    add(word) {
      const counts = current();
      if (counts.size < MAX_WORDS || counts.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
    },
    counts() {
      current();
      const sum = new Map<Word, number>();
      for (const { counts } of stretches) {
        for (const [word, count] of counts) sum.set(word, (sum.get(word) ?? 0) + count);
      }
      return [...sum].map(([word, count]) => ({ word, count })).sort((a, b) => b.count - a.count);
    },
  };
}
