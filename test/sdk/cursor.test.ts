import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/core/bytes.js';
import {
  advanceCursor,
  type ChainCursor,
  formatCursor,
  MAX_CURSOR_HASHES,
  parseCursor,
  retreatCursor,
  rollbackCursor,
} from '../../src/sdk/cursor.js';

const SEED = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);

/** A block of one of many branches; blocks of the same branch and height are the same block. */
function block(branch: number, height: number) {
  return { hash: new Uint8Array(createHash('sha256').update(`${branch}/${height}`).digest()), height };
}

describe('the cursor', () => {
  it(`names at most 32 handled blocks, dense at the tip, one for each doubling of the depth (seed ${SEED})`, () => {
    const step = fc.record({ up: fc.nat({ max: 400 }), down: fc.nat({ max: 60 }) });
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 23 }), fc.array(step, { minLength: 1, maxLength: 12 }), (start, steps) => {
        let chain = [block(0, start)];
        let cursor: ChainCursor = chain.slice();
        for (const [branch, { up, down }] of steps.entries()) {
          for (let i = 0; i < down && chain.length > 1; i++) {
            chain = chain.slice(0, -1);
            cursor = retreatCursor(cursor, chain.at(-1) ?? block(0, start));
          }
          for (let i = 0; i < up; i++) {
            const next = block(branch + 1, (chain.at(-1)?.height ?? start) + 1);
            chain.push(next);
            cursor = advanceCursor(cursor, next);
          }
          expect(cursor.length).toBeLessThanOrEqual(MAX_CURSOR_HASHES);
          expect(cursor[0]?.height).toBe(chain.at(-1)?.height);
          const handled = new Map(chain.map(({ hash, height }) => [height, toHex(hash)]));
          for (const { hash, height } of cursor) expect(toHex(hash)).toBe(handled.get(height));
          const heights = cursor.map(({ height }) => height);
          expect(heights).toEqual([...heights].sort((a, b) => b - a));
          expect(heights.at(-1), 'the oldest stays').toBe(start);
          if (up >= 10)
            expect(heights.slice(0, 10)).toEqual(
              chain
                .slice(-10)
                .reverse()
                .map((b) => b.height),
            );
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  it('reaches from any depth to a block at most four times as deep', () => {
    let cursor: ChainCursor = [block(0, 0)];
    for (let height = 1; height <= 5_000; height++) cursor = advanceCursor(cursor, block(0, height));
    const depths = cursor.map(({ height }) => 5_000 - height);
    for (const [i, depth] of depths.slice(1).entries()) {
      expect(depth, `after ${depths[i]}`).toBeLessThanOrEqual(4 * Math.max(1, depths[i] ?? 0));
    }
    expect(cursor.length).toBeLessThanOrEqual(MAX_CURSOR_HASHES);
  });

  it('stays within its bound at the height of any chain', () => {
    const all: ChainCursor = Array.from({ length: 24 }, (_, i) => block(0, 2 ** 24 - 2 ** (i + 1))).reverse();
    const cursor = [...all].reverse().reduce<ChainCursor>((c, b) => advanceCursor(c, b), [block(0, 0)]);
    expect(advanceCursor(cursor, block(0, 2 ** 24)).length).toBeLessThanOrEqual(MAX_CURSOR_HASHES);
  });

  it('goes below its oldest block to the parent that the header names', () => {
    const parent = block(1, 6);
    expect(retreatCursor([block(0, 7)], parent)).toEqual([parent]);
  });

  it('gives what stands above one of its own hashes', () => {
    const cursor = [block(0, 9), block(0, 8), block(0, 7)];
    expect(rollbackCursor(cursor, block(0, 8).hash)).toEqual({
      cursor: cursor.slice(1),
      to: cursor[1],
      unknown: cursor.slice(0, 1),
    });
    expect(rollbackCursor(cursor, block(0, 1).hash)).toBeUndefined();
  });

  it('is one line of text and back', () => {
    const cursor = [block(0, 900_000), block(0, 899_999), block(0, 0)];
    expect(parseCursor(formatCursor(cursor))).toEqual(cursor);
    expect(parseCursor('')).toEqual([]);
    const [line] = formatCursor(cursor).split(' ');
    for (const text of ['x', '1:', `1:${'0'.repeat(63)}`, `-1:${'0'.repeat(64)}`, `${line} ${line}`]) {
      expect(parseCursor(text), text).toBeUndefined();
    }
  });
});
