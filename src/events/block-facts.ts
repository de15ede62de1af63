import { asBuffer } from '../core/bytes.js';
import type { WalkBlock } from './chain-reader.js';

/** Blocks remembered: a week of mainnet, about 300 kB. */
export const MAX_REMEMBERED_BLOCKS = 1_000;

/** The latest blocks that the node told of, whatever became of them; spares the node questions about them. */
export interface BlockFacts {
  /** Remembers a block; the oldest one is forgotten when there is no room. */
  remember(block: WalkBlock): void;
  /** The block, or undefined when it is not remembered. */
  get(hash: Uint8Array): WalkBlock | undefined;
}

/** Makes an empty memory of blocks. */
export function createBlockFacts(maxBlocks: number = MAX_REMEMBERED_BLOCKS): BlockFacts {
  const blocks = new Map<string, WalkBlock>();
  const key = (hash: Uint8Array): string => asBuffer(hash).toString('latin1');
  return {
    remember(block) {
      const id = key(block.hash);
      // deleted first, so that a block connected again counts as new
      blocks.delete(id);
      blocks.set(id, block);
      for (const oldest of blocks.keys()) {
        if (blocks.size <= maxBlocks) break;
        blocks.delete(oldest);
      }
    },
    get: (hash) => blocks.get(key(hash)),
  };
}
