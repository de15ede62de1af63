import fc from 'fast-check';
import { afterEach, expect, it } from 'vitest';
import type { Precondition, Step } from '../../../src/services/storage/apply.js';
import type { Store } from '../../../src/services/storage/store.js';
import { bytes, cleanUp, makeRoom, open, reasonOf, scan } from './rig.js';

const SEED = Number(process.env.MODHOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = 25;

afterEach(cleanUp);

/** Few keys, so that steps meet; bytes at both ends of the order. */
const key = fc.constantFrom('a', 'b', 'aa', 'a\x00', '\x00', '\xff', '\xff\xff', '__proto__');
const tree = fc.constantFrom('one', 'two', 'two_');
const value = fc.oneof(
  fc.string({ maxLength: 20 }).map((text) => bytes(text)),
  fc.constant(Buffer.alloc(70_000, 7)),
);
const bound = fc.oneof(fc.constant(''), key);

type Batch = { kind: 'batch'; checks: { tree: string; key: string; now: boolean }[]; steps: ModelStep[] };
type ModelStep =
  | { kind: 'put'; tree: string; key: string; value: Buffer }
  | { kind: 'delete'; tree: string; key: string }
  | { kind: 'range'; tree: string; start: string; end: string };
type Command =
  | Batch
  | { kind: 'restart' }
  | { kind: 'dropTree'; tree: string }
  | { kind: 'scan'; tree: string; start: string; end: string; prefix: string; reverse: boolean; limit: number };

const step: fc.Arbitrary<ModelStep> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), tree, key, value }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), tree, key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('range' as const), tree, start: bound, end: bound }) },
);
const batch: fc.Arbitrary<Batch> = fc.record({
  kind: fc.constant('batch' as const),
  checks: fc.array(fc.record({ tree, key, now: fc.boolean() }), { maxLength: 2 }),
  steps: fc.array(step, { minLength: 1, maxLength: 6 }),
});
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 12, arbitrary: batch },
  {
    weight: 5,
    arbitrary: fc.record({
      ...{ kind: fc.constant('scan' as const), tree, start: bound, end: bound, prefix: bound },
      ...{ reverse: fc.boolean(), limit: fc.nat(4) },
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('dropTree' as const), tree }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
);

type Model = Map<string, Map<string, string>>;
const TREES = ['one', 'two', 'two_'];
const inRange = (at: string, start: string, end: string): boolean => at >= start && (end === '' || at < end);

/** What the batch makes of the model, or nothing when a precondition does not hold. */
function applied(model: Model, { checks, steps }: Batch): Model | undefined {
  // a check asks for what is there now, or for the opposite
  if (checks.some(({ now }) => !now)) return undefined;
  const next: Model = new Map([...model].map(([name, entries]) => [name, new Map(entries)]));
  for (const one of steps) {
    const entries = next.get(one.tree) as Map<string, string>;
    if (one.kind === 'put') entries.set(one.key, one.value.toString('latin1'));
    else if (one.kind === 'delete') entries.delete(one.key);
    else for (const at of [...entries.keys()]) if (inRange(at, one.start, one.end)) entries.delete(at);
  }
  return next;
}

function toWork(model: Model, { checks, steps }: Batch) {
  const preconditions = checks.map(({ tree: name, key: at, now }): Precondition => {
    const there = model.get(name)?.get(at);
    if (there === undefined) return { tree: name, key: bytes(at), holds: !now };
    return { tree: name, key: bytes(at), holds: now ? bytes(there) : bytes(`${there}.`) };
  });
  const real = steps.map((one): Step => {
    if (one.kind === 'range') return { ...one, start: bytes(one.start), end: bytes(one.end) };
    return { ...one, key: bytes(one.key) };
  });
  return { kind: 'write' as const, preconditions, steps: real };
}

function scanned(model: Model, { tree: name, start, end, prefix, reverse, limit }: Command & { kind: 'scan' }) {
  const entries = [...(model.get(name) ?? [])]
    .filter(([at]) => (prefix !== '' ? at.startsWith(prefix) : inRange(at, start, end)))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  if (reverse) entries.reverse();
  return limit === 0 ? entries : entries.slice(0, limit);
}

async function assertSame(store: Store, model: Model): Promise<void> {
  let [keys, used] = [0, 0];
  for (const name of TREES) {
    const entries = [...(model.get(name) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    expect(await scan(store, name)).toEqual(entries);
    keys += entries.length;
    used += entries.reduce((sum, [at, what]) => sum + at.length + what.length, 0);
  }
  expect(await store.usage()).toMatchObject({ keys, bytes: used });
}

it(`C125: behaves as a map of maps over batches, ranges, scans and restarts (seed ${SEED})`, async () => {
  process.stderr.write(`model: seed ${SEED}\n`);
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (commands) => {
      const room = makeRoom();
      let store = await open(room, { engine: { writeBufferBytes: 64 * 1024 } });
      let model: Model = new Map(TREES.map((name) => [name, new Map<string, string>()]));
      for (const name of TREES) await store.openTree(name);
      for (const one of commands) {
        if (one.kind === 'restart') {
          await store.close();
          store = await open(room, { engine: { writeBufferBytes: 64 * 1024 } });
          await assertSame(store, model);
        } else if (one.kind === 'dropTree') {
          await store.write({ kind: 'deleteTree', name: one.tree });
          await store.openTree(one.tree);
          model.set(one.tree, new Map());
        } else if (one.kind === 'scan') {
          const range = { start: bytes(one.start), end: bytes(one.end), prefix: bytes(one.prefix) };
          const found = await scan(store, one.tree, { ...range, reverse: one.reverse, limit: BigInt(one.limit) });
          expect(found).toEqual(scanned(model, one));
        } else {
          const next = applied(model, one);
          const outcome = await reasonOf(store.write(toWork(model, one)));
          expect(outcome).toBe(next === undefined ? 'PRECONDITION_FAILED' : 'OK');
          model = next ?? model;
        }
      }
      await assertSame(store, model);
      await cleanUp();
    }),
    { seed: SEED, numRuns: RUNS },
  );
});
