import type { HostError } from '../../src/contract/error.js';
import type { EventPayload } from '../../src/contract/event-type.js';
import { blockHash, previousHashOf, serializeHeader } from '../../src/core/bitcoin/header.js';
import { equalBytes, toHex } from '../../src/core/bytes.js';
import type { ChainReader, WalkBlock } from '../../src/events/chain-reader.js';

/** A tree of headers with an active branch: what a walk must tell truly. */
export interface FakeChain extends ChainReader {
  /** Adds a block on a parent, off the active chain until `activate`. */
  mine(parent: WalkBlock): WalkBlock;
  /** Makes the branch that ends here the active one. */
  activate(tip: WalkBlock): void;
  /** Mines on the tip and activates. */
  extend(blocks?: number): WalkBlock;
  active(): readonly WalkBlock[];
  /** Calls answered. */
  calls: number;
  /** Thrown by the next calls while set. */
  trouble: HostError | undefined;
  download: boolean;
  pruned: number;
  /** Runs before each answer, for changes of the chain in the middle of a walk. */
  beforeAnswer: () => void;
  forget(block: WalkBlock): void;
}

/** Makes a chain of its genesis alone. */
export function createFakeChain(): FakeChain {
  let nonce = 0;
  const make = (parent: WalkBlock | undefined): WalkBlock => {
    nonce += 1;
    const header = serializeHeader({
      version: 1,
      previousHash: parent?.hash ?? new Uint8Array(32),
      merkleRoot: new Uint8Array(32),
      timeUnixS: 1,
      bits: 0x207fffff,
      nonce,
    });
    const height = parent === undefined ? 0 : parent.height + 1;
    return { hash: blockHash(header), height, header, txCount: 1, sizeBytes: 0, weight: 0 };
  };
  const known = new Map<string, WalkBlock>();
  const remember = (block: WalkBlock): WalkBlock => {
    known.set(toHex(block.hash), block);
    return block;
  };
  const genesis = remember(make(undefined));
  let chain: WalkBlock[] = [genesis];
  const tipBlock = (): WalkBlock => chain.at(-1) ?? genesis;

  const answer = async <T>(read: () => T): Promise<T> => {
    await Promise.resolve();
    fake.calls += 1;
    fake.beforeAnswer();
    if (fake.trouble !== undefined) throw fake.trouble;
    return read();
  };

  const fake: FakeChain = {
    calls: 0,
    trouble: undefined,
    download: false,
    pruned: 0,
    beforeAnswer: () => {},
    mine: (parent) => remember(make(parent)),
    activate(tip) {
      const branch: WalkBlock[] = [];
      for (let block: WalkBlock | undefined = tip; block !== undefined; ) {
        branch.unshift(block);
        block = known.get(toHex(previousHashOf(block.header)));
      }
      chain = branch;
    },
    extend(blocks = 1) {
      for (let i = 0; i < blocks; i++) chain.push(fake.mine(tipBlock()));
      return tipBlock();
    },
    active: () => chain,
    forget: (block) => void known.delete(toHex(block.hash)),
    hashAt: (height) => answer(() => chain[height]?.hash),
    block: (hash) => answer(() => known.get(toHex(hash))),
    blocks: (from, count) => answer(() => chain.slice(from, from + count)),
    tip: () => answer(tipBlock),
    sync: () => answer(() => ({ initialBlockDownload: fake.download, headers: 900, progress: 0.5 })),
    pruneHeight: () => answer(() => fake.pruned),
  };
  return fake;
}

/** A module that follows a walk and finds every event that does not fit its position. */
export function createFollower(start: WalkBlock) {
  const chain: { hash: Uint8Array; height: number }[] = [start];
  const follower = {
    steps: [] as string[],
    get position() {
      return chain.at(-1) ?? start;
    },
    connect(hash: Uint8Array, height: number, header: Uint8Array): void {
      const { position } = follower;
      if (!equalBytes(previousHashOf(header), position.hash) || height !== position.height + 1) {
        throw new Error(`connect of ${height} at position ${position.height}`);
      }
      chain.push({ hash, height });
      follower.steps.push(`+${height}`);
    },
    apply(event: EventPayload): void {
      if (event.$case === 'newBlock') {
        follower.connect(event.value.blockHash, event.value.height, event.value.header);
      } else if (event.$case === 'blockDisconnected') {
        if (
          !equalBytes(event.value.blockHash, follower.position.hash) ||
          event.value.height !== follower.position.height
        )
          throw new Error(`disconnect of ${event.value.height} at position ${follower.position.height}`);
        const left = chain.pop();
        if (chain.length === 0) throw new Error('below the start');
        follower.steps.push(`-${left?.height}`);
      } else if (event.$case === 'blockSyncProgress') {
        event.value.headers.forEach((header, i) => {
          follower.connect(blockHash(header), event.value.firstHeight + i, header);
        });
      } else if (event.$case === 'chainReorg') {
        if (!equalBytes(event.value.newTip, follower.position.hash)) throw new Error('reorg to another tip');
        follower.steps.push(`reorg ${event.value.disconnected}/${event.value.connected}`);
      }
    },
  };
  return follower;
}
