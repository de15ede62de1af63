import { asBuffer } from '../../core/bytes.js';

/**
 * How a module's storage lies in its one LevelDB:
 *
 *     00                      the head: counters and digest of everything
 *     01 name                 one record per tree
 *     02 tree(4) key          one entry; tree is a number of four bytes that is never used twice
 *
 * Numbers of one length, and not names, stand before the keys: no tree's range can lie in another's, whatever they are
 * called, and a tree that was deleted leaves nothing that its successor could see.
 */

/** Where the head lies. */
export const HEAD_KEY: Buffer = Buffer.of(0);
/** All records of trees, from the first to what is beyond the last. */
export const TREE_RANGE: KeyRange = { gte: Buffer.of(1), lt: Buffer.of(2) };
/** All entries. */
export const ENTRY_RANGE: KeyRange = { gte: Buffer.of(2), lt: Buffer.of(3) };
/** Bytes that stand before a key. */
export const ENTRY_PREFIX_BYTES = 5;

/** A range of physical keys. */
export interface KeyRange {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

/** Where a tree's record lies. */
export function treeKey(name: string): Buffer {
  return Buffer.from(`\x01${name}`, 'latin1');
}

/** The name in a record's key. */
export function treeNameOf(physical: Buffer): string {
  return physical.toString('latin1', 1);
}

/** Where an entry lies. */
export function entryKey(tree: number, key: Uint8Array): Buffer {
  const physical = Buffer.allocUnsafe(ENTRY_PREFIX_BYTES + key.byteLength);
  physical[0] = 2;
  physical.writeUInt32BE(tree, 1);
  physical.set(key, ENTRY_PREFIX_BYTES);
  return physical;
}

/** Number of the tree that an entry's key names. */
export function treeIdOf(physical: Buffer): number {
  return physical.readUInt32BE(1);
}

/** The key as the module knows it. */
export function moduleKeyOf(physical: Buffer): Buffer {
  return physical.subarray(ENTRY_PREFIX_BYTES);
}

/** Entries of a tree from `start` up to, not including, `end`; an empty bound is none. */
export function entryRange(tree: number, start: Uint8Array, end: Uint8Array): KeyRange {
  return { gte: entryKey(tree, start), lt: end.byteLength === 0 ? entryKey(tree + 1, end) : entryKey(tree, end) };
}

/** Entries of a tree whose keys begin with `prefix`. */
export function prefixRange(tree: number, prefix: Uint8Array): KeyRange {
  const end = asBuffer(Uint8Array.from(prefix));
  let last = end.byteLength;
  while (last > 0 && end[last - 1] === 0xff) last -= 1;
  if (last === 0) return entryRange(tree, prefix, new Uint8Array());
  end[last - 1] = (end[last - 1] ?? 0) + 1;
  return entryRange(tree, prefix, end.subarray(0, last));
}
