import { blockHash, parseHeader } from '../../../src/core/bitcoin/header.js';
import { workFromBits } from '../../../src/core/bitcoin/target.js';
import { toHex } from '../../../src/core/bytes.js';
import type { NodeApi } from '../../../src/node/node-api.js';

/** One block that the double has seen. */
export interface IndexedBlock {
  hash: Uint8Array;
  height: number;
  header: Uint8Array;
  /** Expected hashes up to and with this block. */
  work: bigint;
  medianTimeUnixS: number;
  parent: IndexedBlock | undefined;
}

/** Blocks with what Bitcoin Core keeps in memory about each, stale branches included. */
export interface BlockIndex {
  /** @throws HostError BLOCK_NOT_FOUND */
  find(hash: Uint8Array, signal: AbortSignal): Promise<IndexedBlock>;
}

/** Blocks whose times make the median (BIP 113). */
const MEDIAN_TIME_SPAN = 11;

/** An index that fills itself from the node. */
export function createBlockIndex(node: NodeApi): BlockIndex {
  const known = new Map<string, IndexedBlock>();

  const find = async (hash: Uint8Array, signal: AbortSignal): Promise<IndexedBlock> => {
    // Collected downwards, then filled upwards: a recursion would be as deep as the chain is long.
    const missing: { hash: Uint8Array; header: Uint8Array; height: number }[] = [];
    let next = hash;
    let parent = known.get(toHex(next));
    while (parent === undefined) {
      const at = await node.chain.getHeader(next, signal);
      missing.push({ hash: blockHash(at.header), header: at.header, height: at.height });
      if (at.height === 0) break;
      next = parseHeader(at.header).previousHash;
      parent = known.get(toHex(next));
    }
    for (const { hash: own, header, height } of missing.reverse()) {
      const work: bigint = (parent?.work ?? 0n) + workFromBits(parseHeader(header).bits);
      const block: IndexedBlock = { hash: own, header, height, work, medianTimeUnixS: 0, parent };
      block.medianTimeUnixS = medianTime(block);
      known.set(toHex(own), block);
      parent = block;
    }
    if (parent === undefined) throw new Error('the index lost a block');
    return parent;
  };

  return { find };
}

function medianTime(block: IndexedBlock): number {
  const times: number[] = [];
  for (let at: IndexedBlock | undefined = block; at !== undefined && times.length < MEDIAN_TIME_SPAN; at = at.parent) {
    times.push(parseHeader(at.header).timeUnixS);
  }
  times.sort((a, b) => a - b);
  return times[times.length >> 1] ?? 0;
}
