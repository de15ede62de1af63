import { hash } from 'node:crypto';
import { HEAD_KEY, treeKey } from './layout.js';
import { SEAL_BYTES, SealSum, sealed, sealOf, unsealed } from './seal.js';

/** One tree: its bounds and what it holds. */
export interface Tree {
  readonly name: string;
  /** Never used by another tree of the same storage. */
  readonly id: number;
  /** Its own quota, bytes; 0 = none. */
  quota: number;
  keys: number;
  /** Lengths of keys and values. */
  bytes: number;
  /** Sum over the seals of its entries. */
  sum: SealSum;
}

/** Counters and digest of the whole storage after one group of writes. */
export interface Head {
  /** Groups written so far; the database may be one ahead of the file that is kept apart, never behind. */
  readonly sequence: bigint;
  /** Number of the last commit. */
  readonly commit: bigint;
  /** Number that the next tree gets. */
  readonly nextTree: number;
  readonly trees: number;
  readonly keys: number;
  readonly bytes: number;
  /** SHA-256 over all trees' records, and by their sums over every entry. */
  readonly digest: Buffer;
}

const TREE_BYTES = 28 + SEAL_BYTES;
/** Length of an encoded head. */
export const HEAD_BYTES = 72;
/** Of the layout on disk; another one is not read. */
const FORMAT = 1;

/** A tree's record as it is stored. */
export function encodeTree(tree: Tree): Buffer {
  const body = Buffer.allocUnsafe(TREE_BYTES);
  body.writeUInt32LE(tree.id, 0);
  body.writeBigUInt64LE(BigInt(tree.quota), 4);
  body.writeBigUInt64LE(BigInt(tree.keys), 12);
  body.writeBigUInt64LE(BigInt(tree.bytes), 20);
  tree.sum.bytes().copy(body, 28);
  return sealed(sealOf(treeKey(tree.name), body), body);
}

/** The tree that a record tells of; undefined when it does not match its checksum. */
export function decodeTree(name: string, stored: Buffer): Tree | undefined {
  const body = unsealed(treeKey(name), stored)?.value;
  if (body?.byteLength !== TREE_BYTES) return undefined;
  return {
    name,
    id: body.readUInt32LE(0),
    quota: Number(body.readBigUInt64LE(4)),
    keys: Number(body.readBigUInt64LE(12)),
    bytes: Number(body.readBigUInt64LE(20)),
    sum: SealSum.from(body.subarray(28)),
  };
}

/** The head that belongs to these trees. */
export function headOf(trees: Iterable<Tree>, at: Pick<Head, 'sequence' | 'commit' | 'nextTree'>): Head {
  const all = [...trees].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    ...at,
    trees: all.length,
    keys: all.reduce((sum, { keys }) => sum + keys, 0),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    digest: hash('sha256', Buffer.concat(all.map(encodeTree)), 'buffer'),
  };
}

/** A head as the database and the file apart hold it. */
export function encodeHead(head: Head): Buffer {
  const body = Buffer.allocUnsafe(HEAD_BYTES);
  body.writeUInt32LE(FORMAT, 0);
  body.writeBigUInt64LE(head.sequence, 4);
  body.writeBigUInt64LE(head.commit, 12);
  body.writeUInt32LE(head.nextTree, 20);
  body.writeUInt32LE(head.trees, 24);
  body.writeUInt32LE(head.keys, 28);
  body.writeBigUInt64LE(BigInt(head.bytes), 32);
  head.digest.copy(body, 40);
  return sealed(sealOf(HEAD_KEY, body), body);
}

/** The head that these bytes tell; undefined when they do not match their checksum. */
export function decodeHead(stored: Buffer): Head | undefined {
  const body = unsealed(HEAD_KEY, stored)?.value;
  if (body?.byteLength !== HEAD_BYTES || body.readUInt32LE(0) !== FORMAT) return undefined;
  return {
    sequence: body.readBigUInt64LE(4),
    commit: body.readBigUInt64LE(12),
    nextTree: body.readUInt32LE(20),
    trees: body.readUInt32LE(24),
    keys: body.readUInt32LE(28),
    bytes: Number(body.readBigUInt64LE(32)),
    digest: Buffer.from(body.subarray(40)),
  };
}

/** True when both tell the same state. */
export function equalHeads(a: Head, b: Head): boolean {
  return encodeHead(a).equals(encodeHead(b));
}
