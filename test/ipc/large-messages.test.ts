import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createPace } from '../../src/core/pace.js';
import { createLargeMessageGate } from '../../src/ipc/large-messages.js';

const LARGE = 1024 * 1024;

/** Keeps the loop for this long. */
function busy(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('the gate of large messages', () => {
  it('decodes small ones at once and large ones in their order, one per turn of the loop', async () => {
    const gate = createLargeMessageGate(createPace());
    const seen: string[] = [];
    const first = gate(LARGE, () => seen.push('first'));
    const second = gate(LARGE, () => seen.push('second'));
    expect(gate(10, () => seen.push('small'))).toBe(1);
    await first;
    expect(seen).toEqual(['small', 'first']);
    await second;
    expect(seen).toEqual(['small', 'first', 'second']);
  });

  it('leaves others turns of the loop between two that take long', async () => {
    const gate = createLargeMessageGate(createPace());
    let turns = 0;
    let over = false;
    const other = (async () => {
      while (!over) {
        await turn();
        turns += 1;
      }
    })();
    const between: number[] = [];
    const slow = (): void => {
      between.push(turns);
      busy(5);
    };
    await Promise.all([1, 2, 3].map(() => gate(LARGE, slow)));
    over = true;
    await other;
    expect(between[1] as number).toBeGreaterThan((between[0] as number) + 3);
    expect(between[2] as number).toBeGreaterThan((between[1] as number) + 3);
  });

  it('goes on behind a message that cannot be decoded, which fails for its own caller alone', async () => {
    const gate = createLargeMessageGate(createPace());
    const broken = gate(LARGE, () => {
      throw new Error('not a message');
    });
    const next = gate(LARGE, () => 'decoded');
    await expect(broken).rejects.toThrow('not a message');
    expect(await next).toBe('decoded');
  });
});
