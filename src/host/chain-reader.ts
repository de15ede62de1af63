import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { BlockFacts } from '../events/block-facts.js';
import type { ChainReader, WalkBlock, WalkSync } from '../events/chain-reader.js';
import type { HeaderAt, NodeApi } from '../node/node-api.js';

/** How long the prune height and the end of the initial download are believed: both move slowly and only one way. */
const BELIEVED_MS = 10_000;

/**
 * The chain for walks, read from the node. What the host has heard of a block spares a question; bodies are never read,
 * so size and weight of a block that the host has not heard of are not known.
 *
 * @param node  the port, or one module's share of it
 * @param facts blocks that the node told of
 */
export function createChainReader(
  node: Pick<NodeApi, 'chain' | 'getInfo'>,
  facts: BlockFacts,
  clock: Clock,
): ChainReader {
  let syncedUntilMs = Number.NEGATIVE_INFINITY;
  let pruned: { height: number; untilMs: number } | undefined;
  let neverPruned = false;

  return {
    hashAt: (height, signal) => unless('NO_CHAIN_HEIGHT', () => node.chain.getHash(height, signal)),
    async block(hash, signal) {
      const known = facts.get(hash);
      if (known !== undefined) return known;
      const header = await unless('BLOCK_NOT_FOUND', () => node.chain.getHeader(hash, signal));
      return header === undefined ? undefined : toBlock(header, facts);
    },
    async blocks(fromHeight, count, signal) {
      const headers = await unless('NO_CHAIN_HEIGHT', () => node.chain.getHeaders(fromHeight, count, signal));
      return (headers ?? []).map((header) => toBlock(header, facts));
    },
    async tip(signal) {
      return (await node.chain.getState(signal)).tip;
    },
    async sync(signal): Promise<WalkSync> {
      if (clock.monotonicMs() < syncedUntilMs) return { initialBlockDownload: false, headers: 0, progress: 1 };
      const sync = await node.chain.getSync(signal);
      if (!sync.initialBlockDownload) syncedUntilMs = clock.monotonicMs() + BELIEVED_MS;
      return { initialBlockDownload: sync.initialBlockDownload, headers: sync.headers, progress: sync.progress };
    },
    async pruneHeight(signal) {
      if (neverPruned) return 0;
      if (pruned === undefined || clock.monotonicMs() >= pruned.untilMs) {
        const info = await node.getInfo(signal);
        neverPruned = !info.pruned;
        pruned = { height: info.pruned ? info.pruneHeight : 0, untilMs: clock.monotonicMs() + BELIEVED_MS };
      }
      return pruned.height;
    },
  };
}

/** A block that the host has heard of has all its facts; of others the header call tells what there is. */
function toBlock({ hash, height, header, txCount }: HeaderAt, facts: BlockFacts): WalkBlock {
  return facts.get(hash) ?? { hash, height, header, txCount, sizeBytes: 0, weight: 0 };
}

/** The answer, or undefined where the node says by this reason that there is none. */
async function unless<T>(reason: HostError['reason'], ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof HostError && error.reason === reason) return undefined;
    throw error;
  }
}
