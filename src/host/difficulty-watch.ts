import type { EventPayload } from '../contract/event-type.js';
import { parseHeader } from '../core/bitcoin/header.js';
import { difficultyFromBits } from '../core/bitcoin/target.js';
import type { BlockFacts } from '../events/block-facts.js';
import type { WalkBlock } from '../events/chain-reader.js';
import type { NetworkName, NodeApi } from '../node/node-api.js';

/** Blocks between two retargets. @see Bitcoin Core, consensus/params.h "DifficultyAdjustmentInterval" */
const RETARGET_INTERVAL = 2_016;
/**
 * Networks whose rules let a late block have the minimum difficulty: there a block before a retarget says nothing of the
 * period that it ends.
 */
const MINIMUM_DIFFICULTY_NETWORKS: ReadonlySet<NetworkName> = new Set(['test', 'testnet4']);

/** Notices changes of the target in what the node tells of blocks and tips. */
export interface DifficultyWatch {
  connected(block: WalkBlock): void;
  /** A block was rolled back; its parent is the tip. */
  disconnected(parent: Uint8Array): void;
  /** The node told the target and height of the block to be found. */
  announced(bits: number, height: number): void;
}

/** Makes the watch; `facts` hold the parents of the blocks that are connected. */
export function createDifficultyWatch(
  facts: BlockFacts,
  node: Pick<NodeApi, 'getInfo'>,
  publish: (payload: EventPayload) => void,
): DifficultyWatch {
  /** Target told last: of the tip, or of the block to be found. Undefined until the first block. */
  let told: number | undefined;
  const signal = new AbortController().signal;

  const tell = (bits: number, height: number): void => {
    if (told !== undefined && told !== bits) {
      publish({
        $case: 'miningDifficultyChanged',
        value: { oldDifficulty: difficultyFromBits(told), newDifficulty: difficultyFromBits(bits), height },
      });
    }
    told = bits;
  };

  const retarget = (oldBits: number, newBits: number, height: number): void => {
    node.getInfo(signal).then(
      ({ network }) => {
        if (MINIMUM_DIFFICULTY_NETWORKS.has(network)) return;
        publish({
          $case: 'difficultyAdjusted',
          value: {
            oldDifficulty: difficultyFromBits(oldBits),
            newDifficulty: difficultyFromBits(newBits),
            height,
          },
        });
      },
      // a node that cannot say on which network it is gives no ground for the event
      () => {},
    );
  };

  return {
    connected(block) {
      const { bits, previousHash } = parseHeader(block.header);
      const parent = facts.get(previousHash);
      const parentBits = parent === undefined ? undefined : parseHeader(parent.header).bits;
      told ??= parentBits;
      tell(bits, block.height);
      if (block.height % RETARGET_INTERVAL === 0 && parentBits !== undefined && parentBits !== bits) {
        retarget(parentBits, bits, block.height);
      }
    },
    disconnected(parent) {
      const block = facts.get(parent);
      // what is to be found after a rollback is told by the next tip or block; until then nothing is known
      told = block === undefined ? undefined : parseHeader(block.header).bits;
    },
    announced(bits, height) {
      tell(bits, height);
    },
  };
}
