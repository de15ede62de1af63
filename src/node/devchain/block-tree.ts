import type { BlockHeader } from '../../core/bitcoin/header.js';
import { workFromBits } from '../../core/bitcoin/target.js';
import { toHex } from '../../core/bytes.js';
import type { Coin } from './coins.js';
import { MEDIAN_TIME_BLOCKS } from './params.js';

/** Where a block's bytes lie in the store. */
export interface StoredAt {
  offset: number;
  length: number;
}

/** One known block, on the active chain or not. */
export interface BlockNode {
  readonly hash: Uint8Array;
  readonly height: number;
  readonly parent: BlockNode | undefined;
  readonly headerBytes: Uint8Array;
  readonly header: BlockHeader;
  readonly chainWork: bigint;
  /** Median of the last 11 block times, this one included (BIP 113). */
  readonly medianTimeUnixS: number;
  readonly txCount: number;
  readonly sizeBytes: number;
  readonly weight: number;
  readonly stored: StoredAt;
  /** Set when the block, or one before it, breaks a rule or was invalidated by hand. */
  invalid: boolean;
  /** What the block spends, in order; there once the block was connected. */
  spent: readonly Coin[] | undefined;
}

/** All known blocks and which of them form the active chain. */
export interface BlockTree {
  /** Number of known blocks. */
  readonly size: number;
  readonly tip: BlockNode;
  get(hash: Uint8Array): BlockNode | undefined;
  /** Block of the active chain at a height. */
  at(height: number): BlockNode | undefined;
  isActive(node: BlockNode): boolean;
  /** Ancestor at a height, or the node itself; the node may lie off the active chain. */
  ancestor(node: BlockNode, height: number): BlockNode | undefined;
  /** Last common block of the node's branch and the active chain. */
  fork(node: BlockNode): BlockNode;
  /** Valid block with the most work; among equals the one known first, as Bitcoin Core has it. */
  best(): BlockNode;
  add(node: BlockNode): void;
  /** Moves the end of the active chain one block up or down. */
  setTip(node: BlockNode): void;
  /** Marks a block and all that build on it as invalid; gives those that were not marked before. */
  markInvalid(node: BlockNode): BlockNode[];
}

/** Makes the tree with its first block as the active chain. */
export function createBlockTree(genesis: BlockNode): BlockTree {
  const nodes = new Map([[toHex(genesis.hash), genesis]]);
  const active = [genesis];
  const isActive = (node: BlockNode): boolean => active[node.height] === node;

  const tree: BlockTree = {
    get size() {
      return nodes.size;
    },
    get tip() {
      return active[active.length - 1] ?? genesis;
    },
    get: (hash) => nodes.get(toHex(hash)),
    at: (height) => active[height],
    isActive,
    ancestor(node, height) {
      let walked: BlockNode | undefined = node;
      while (walked !== undefined && walked.height > height && !isActive(walked)) walked = walked.parent;
      return walked !== undefined && walked.height > height ? active[height] : walked;
    },
    fork(node) {
      let walked = node;
      while (!isActive(walked)) walked = walked.parent ?? genesis;
      return walked;
    },
    best() {
      let best = genesis;
      for (const node of nodes.values()) {
        if (!node.invalid && node.chainWork > best.chainWork) best = node;
      }
      return best;
    },
    add(node) {
      nodes.set(toHex(node.hash), node);
    },
    setTip(node) {
      active.length = node.height;
      active.push(node);
    },
    markInvalid(node) {
      const marked: BlockNode[] = [];
      // Children are always known after their parents, so one pass reaches all descendants.
      for (const other of nodes.values()) {
        if (other.invalid || (other !== node && other.parent?.invalid !== true)) continue;
        other.invalid = true;
        marked.push(other);
      }
      return marked;
    },
  };
  return tree;
}

/** What a block adds to its parent's work. */
export function chainWorkAfter(parent: BlockNode | undefined, bits: number): bigint {
  return (parent?.chainWork ?? 0n) + workFromBits(bits);
}

/** Median time of a block from its own time and its parent's line. */
export function medianTimeAfter(parent: BlockNode | undefined, timeUnixS: number): number {
  const times = [timeUnixS];
  for (let node = parent; node !== undefined && times.length < MEDIAN_TIME_BLOCKS; node = node.parent) {
    times.push(node.header.timeUnixS);
  }
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)] ?? timeUnixS;
}
