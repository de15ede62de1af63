import type { Breath } from './breath.js';
import { type Engine, walk } from './engine.js';
import { corrupt } from './failure.js';
import { ENTRY_PREFIX_BYTES, ENTRY_RANGE, HEAD_KEY, TREE_RANGE, treeIdOf, treeNameOf } from './layout.js';
import { decodeHead, decodeTree, equalHeads, type Head, headOf, type Tree } from './records.js';
import { SealSum, unsealed } from './seal.js';

/** What a whole storage holds, after everything in it was read and found to be what was written. */
export interface Inspection {
  /** As the last group has left it. */
  head: Head;
  readonly trees: Map<string, Tree>;
  /** Trees that are deleted and whose entries are not all removed yet: number and bytes left. */
  readonly garbage: Map<number, number>;
}

/** How the reading is spread, so that others are not held up. */
export interface InspectionPace {
  readonly breath: Breath;
  /** Runs one read of the engine in its turn. */
  read<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * Reads everything and compares it with the records, and those with the head that the file apart has kept. The database may
 * be one group ahead of the file, when a crash came between the two; behind it, acknowledged writes are lost.
 *
 * @throws DATA_CORRUPT
 */
export async function inspect(engine: Engine, kept: Head, pace: InspectionPace): Promise<Inspection> {
  const stored = await pace.read(() => engine.get(HEAD_KEY));
  const head = stored === undefined ? undefined : decodeHead(stored);
  if (head === undefined) throw corrupt('the head is missing or changed');
  const trees = await readTrees(engine, pace);
  if (!equalHeads(head, headOf(trees.values(), head))) throw corrupt('trees are missing or changed');
  if (head.sequence < kept.sequence) {
    throw corrupt(`${kept.sequence - head.sequence} groups of acknowledged writes are missing`);
  }
  if (head.sequence > kept.sequence + 1n) throw corrupt('the file of commits is of another time than the database');
  if (head.sequence === kept.sequence && !equalHeads(head, kept)) throw corrupt('database and file of commits differ');
  return { head, trees, garbage: await readEntries(engine, head, trees, pace) };
}

async function readTrees(engine: Engine, pace: InspectionPace): Promise<Map<string, Tree>> {
  const trees = new Map<string, Tree>();
  const records = walk(engine, TREE_RANGE);
  try {
    for (;;) {
      const chunk = await pace.read(() => records.next());
      if (chunk.length === 0) return trees;
      for (const [key, value] of chunk) {
        const tree = decodeTree(treeNameOf(key), value);
        if (tree === undefined) throw corrupt('the record of a tree is changed');
        trees.set(tree.name, tree);
      }
    }
  } finally {
    await records.close();
  }
}

const NOTHING: { keys: number; bytes: number } = { keys: 0, bytes: 0 };

/** @returns what is left of deleted trees */
async function readEntries(
  engine: Engine,
  head: Head,
  trees: ReadonlyMap<string, Tree>,
  pace: InspectionPace,
): Promise<Map<number, number>> {
  const found = new Map([...trees.values()].map((tree) => [tree.id, { tree, ...NOTHING, sum: new SealSum() }]));
  const garbage = new Map<number, number>();
  const entries = walk(engine, ENTRY_RANGE);
  try {
    for (;;) {
      const chunk = await pace.read(() => entries.next());
      if (chunk.length === 0) break;
      for (const [place, stored] of chunk) {
        const id = place.byteLength > 4 ? treeIdOf(place) : 0;
        const counted = found.get(id);
        if (counted === undefined) {
          if (id === 0 || id >= head.nextTree) throw corrupt('an entry belongs to no tree that ever was');
          garbage.set(id, (garbage.get(id) ?? 0) + stored.byteLength);
          continue;
        }
        const entry = unsealed(place, stored);
        if (entry === undefined) throw corrupt(`an entry of tree ${counted.tree.name} is changed`);
        counted.keys += 1;
        counted.bytes += place.byteLength - ENTRY_PREFIX_BYTES + entry.value.byteLength;
        counted.sum.add(entry.seal);
        await pace.breath();
      }
    }
  } finally {
    await entries.close();
  }
  for (const { tree, keys, bytes, sum } of found.values()) {
    if (keys !== tree.keys || bytes !== tree.bytes || !sum.bytes().equals(tree.sum.bytes())) {
      throw corrupt(`tree ${tree.name} has ${keys} keys in ${bytes} bytes; ${tree.keys} in ${tree.bytes} were written`);
    }
  }
  return garbage;
}
