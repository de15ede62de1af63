import assert from 'node:assert/strict';
import type { Precondition, Step } from '../../../../src/services/storage/apply.js';
import type { Store } from '../../../../src/services/storage/store.js';

/**
 * A load whose whole state follows from one number per lane: each lane writes step after step, and a step puts a value, its
 * number, and now and then removes an old key, in one batch over two trees. So whoever finds the storage after a crash can
 * say of every byte what it must be.
 */
export const LANES = 4;
const KEYS = 40;

const keyOf = (lane: number, slot: number): Buffer => Buffer.from(`${lane}/${slot}`);
const treeOf = (lane: number): string => (lane % 2 === 0 ? 'even' : 'odd_lanes');

/** Value of a step; most are small, some are as large as a table's block and more. */
export function valueAt(lane: number, step: number): Buffer {
  const size = step % 13 === 0 ? 20_000 : (step * 37) % 600;
  return Buffer.alloc(size, `${lane}:${step};`);
}

/** What the step removes, or undefined. */
const removedBy = (step: number): number | undefined => (step % 7 === 0 ? (step + KEYS / 2) % KEYS : undefined);

export async function openTrees(store: Store): Promise<void> {
  for (const tree of ['cursors', 'even', 'odd_lanes']) await store.openTree(tree);
}

/** Writes one step; resolves when it is acknowledged. */
export async function writeStep(store: Store, lane: number, step: number): Promise<void> {
  const tree = treeOf(lane);
  const cursor = { tree: 'cursors', key: Buffer.of(lane) };
  const removed = removedBy(step);
  const before = step === 1 ? false : Buffer.from(String(step - 1));
  const preconditions: Precondition[] = [{ ...cursor, holds: before }];
  const steps: Step[] = [
    { kind: 'put', tree, key: keyOf(lane, step % KEYS), value: valueAt(lane, step) },
    { kind: 'put', ...cursor, value: Buffer.from(String(step)) },
  ];
  if (removed !== undefined) steps.push({ kind: 'delete', tree, key: keyOf(lane, removed) });
  await store.write({ kind: 'write', preconditions, steps });
}

/** Last step of each lane, after every entry was found to be what it makes. @throws AssertionError */
export async function readState(store: Store): Promise<number[]> {
  const cursors: number[] = [];
  const expected = new Map<string, Buffer>();
  for (let lane = 0; lane < LANES; lane += 1) {
    const cursor = Number((await store.get('cursors', Buffer.of(lane)))?.toString() ?? 0);
    cursors.push(cursor);
    for (let step = Math.max(1, cursor - 3 * KEYS); step <= cursor; step += 1) {
      expected.set(keyOf(lane, step % KEYS).toString(), valueAt(lane, step));
      const removed = removedBy(step);
      if (removed !== undefined) expected.delete(keyOf(lane, removed).toString());
    }
  }
  const none = new Uint8Array();
  for (const tree of ['even', 'odd_lanes']) {
    const range = { tree, prefix: none, start: none, end: none, reverse: false, limit: 0n, keysOnly: false };
    for await (const { entries } of store.scan(range)) {
      for (const { key, value } of entries) {
        const name = Buffer.from(key).toString();
        const wanted = expected.get(name);
        assert.ok(wanted !== undefined, `${tree}: ${name} should not be there`);
        assert.ok(wanted.equals(value), `${tree}: ${name} has another value`);
        // asked for by itself it is found by another way, past filters
        assert.ok((await store.get(tree, key))?.equals(value), `${tree}: ${name} is scanned and not found`);
        expected.delete(name);
      }
    }
  }
  assert.equal(expected.size, 0, `missing: ${[...expected.keys()].join(' ')}`);
  return cursors;
}
