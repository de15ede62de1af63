import { HostError } from '../../contract/error.js';
import { previousHashOf } from '../../core/bitcoin/header.js';
import { equalBytes, hashToDisplay } from '../../core/bytes.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { BlockPosition, NodeEvent, SyncState } from '../node-api.js';
import { createSyncProgress } from './sync-progress.js';

/** A block of the active chain as the follower tells it. */
export interface FollowedBlock extends BlockPosition {
  /** 80 bytes. */
  header: Uint8Array;
  txCount: number;
  /** 0 when the body is pruned. */
  sizeBytes: number;
  /** 0 when the body is pruned. */
  weight: number;
  /** Ids of its transactions where the body is there. */
  txids: readonly Uint8Array[];
}

/** What the follower asks of a node. Every call may reject with HostError; the next hint or poll tries again. */
export interface FollowedChain {
  getSync(signal: AbortSignal): Promise<{ sync: SyncState; tip: BlockPosition }>;
  /** Hashes of the active chain at these heights, in one exchange; undefined above the tip. */
  getHashes(heights: readonly number[], signal: AbortSignal): Promise<(Uint8Array | undefined)[]>;
  /** The block, which may have left the active chain meanwhile. */
  getBlock(hash: Uint8Array, signal: AbortSignal): Promise<FollowedBlock>;
  /** 80 bytes of a header, stale ones included. @throws BLOCK_NOT_FOUND */
  getHeader(hash: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  /** Headers of the active chain from a height upwards, fewer at the tip. */
  getHeaders(
    fromHeight: number,
    count: number,
    signal: AbortSignal,
  ): Promise<readonly { hash: Uint8Array; header: Uint8Array }[]>;
}

/** What hears of changes; none of these may throw. */
export interface FollowerEvents {
  emit(event: NodeEvent): void;
  /** Before the event of a connected block goes out. */
  connected?(block: FollowedBlock): void;
  /** Before the event of a disconnected block goes out. */
  disconnected?(position: BlockPosition): void;
}

/** Keeps the reported position of the chain and tells every step from it to the node's tip. */
export interface ChainFollower {
  /**
   * Walks to the node's tip and resolves there; the first call takes the tip as the position and tells nothing. While
   * the node is in its initial download only its progress is told. Calls while a walk runs share it and one more after it, however many
   * they are. Rejects when the node fails; what was told until then stands, and the next call goes on from there.
   */
  catchUp(signal: AbortSignal): Promise<void>;
  /** Last block that was told; undefined before the first `catchUp`. */
  position(): BlockPosition | undefined;
  /** True while the node is in its initial download, as of the last look. */
  downloading(): boolean;
}

/** Headers of told blocks kept for disconnects that the node can no longer answer, for example after a reindex. */
const REMEMBERED_HEADERS = 2_016;

/**
 * Blocks that are told one by one when an initial download ends. Behind that the follower continues from the tip: the
 * download was summarised as SyncProgress, and nobody wants 900,000 connects.
 */
export const MAX_CONNECTS_AFTER_DOWNLOAD = 2_016;

/** Headers fetched at the start, so that a node that loses its newest blocks in a crash can still be walked back. */
const SEEDED_HEADERS = 100;

/** Steps in a row that find the node between two branches before the walk gives up until the next hint. */
const MAX_UNSETTLED_STEPS = 50;

/**
 * Makes a follower. Its one rule: a step is told only from the position itself. A position off the active chain is
 * disconnected, a child of the position is connected; so each connect follows its parent and each disconnect names
 * the tip, whatever the node does between two questions, and nothing is told twice.
 */
export function createChainFollower(
  chain: FollowedChain,
  events: FollowerEvents,
  options: { clock: Pick<Clock, 'monotonicMs'>; logger: Logger },
): ChainFollower {
  const headers = new Map<string, Uint8Array>();
  let position: BlockPosition | undefined;
  let reorg: { oldTip: BlockPosition; fork: BlockPosition } | undefined;
  let downloading = false;
  const progress = createSyncProgress((event) => events.emit(event), options.clock);

  const remember = (block: { hash: Uint8Array; header: Uint8Array }): void => {
    headers.set(hashToDisplay(block.hash), block.header);
    if (headers.size <= REMEMBERED_HEADERS) return;
    const [oldest] = headers.keys();
    if (oldest !== undefined) headers.delete(oldest);
  };

  const headerOf = async (at: BlockPosition, signal: AbortSignal): Promise<Uint8Array | undefined> =>
    headers.get(hashToDisplay(at.hash)) ?? (await unlessUnknown(chain.getHeader(at.hash, signal)));

  const disconnect = (tip: BlockPosition, header: Uint8Array): void => {
    const parent = { hash: previousHashOf(header).slice(), height: tip.height - 1 };
    if (reorg === undefined) reorg = { oldTip: tip, fork: parent };
    else if (parent.height < reorg.fork.height) reorg.fork = parent;
    position = parent;
    headers.delete(hashToDisplay(tip.hash));
    events.disconnected?.(tip);
    events.emit({ type: 'BlockDisconnected', hash: tip.hash, height: tip.height, header });
  };

  const connect = (block: FollowedBlock): void => {
    position = { hash: block.hash, height: block.height };
    remember(block);
    events.connected?.(block);
    const { hash, height, header, txCount, sizeBytes, weight } = block;
    events.emit({ type: 'BlockConnected', hash, height, header, txCount, sizeBytes, weight });
  };

  const finishReorg = (): void => {
    if (reorg === undefined || position === undefined) return;
    const { oldTip, fork } = reorg;
    reorg = undefined;
    events.emit({ type: 'ChainReorg', oldTip, newTip: position, fork });
  };

  /** Makes `tip` the position and remembers what lies below it: a node that crashes may forget its last blocks. */
  const settle = async (tip: BlockPosition, signal: AbortSignal): Promise<void> => {
    headers.clear();
    const from = Math.max(0, tip.height - SEEDED_HEADERS + 1);
    for (const block of await chain.getHeaders(from, tip.height - from + 1, signal)) remember(block);
    position = tip;
  };

  /** One move from the position; `lost` when neither memory nor node can tell the way back from it. */
  const step = async (
    at: BlockPosition,
    skipTo: BlockPosition | undefined,
    signal: AbortSignal,
  ): Promise<'moved' | 'unsettled' | 'lost' | 'at-tip'> => {
    const [here, next] = await chain.getHashes([at.height, at.height + 1], signal);
    if (here === undefined || !equalBytes(here, at.hash)) {
      const header = at.height === 0 ? undefined : await headerOf(at, signal);
      if (header === undefined) return 'lost';
      disconnect(at, header);
      return 'moved';
    }
    if (next === undefined) return 'at-tip';
    if (skipTo !== undefined && skipTo.height - at.height > MAX_CONNECTS_AFTER_DOWNLOAD) {
      options.logger.info({ from: at.height, to: skipTo.height }, 'initial download ended; going on from the tip');
      await settle(skipTo, signal);
      return 'moved';
    }
    const block = await unlessUnknown(chain.getBlock(next, signal));
    // The node may have switched branches between the two answers: ask again from the same position.
    if (block === undefined || !equalBytes(previousHashOf(block.header), at.hash)) return 'unsettled';
    connect(block);
    return 'moved';
  };

  const walk = async (signal: AbortSignal): Promise<void> => {
    const { sync, tip } = await chain.getSync(signal);
    progress.report(sync);
    if (position === undefined) await settle(tip, signal);
    const skipTo = downloading ? tip : undefined;
    if (sync.initialBlockDownload) {
      downloading = true;
      return;
    }
    for (let unsettled = 0; position !== undefined; ) {
      const outcome = await step(position, skipTo, signal);
      if (outcome === 'at-tip') break;
      if (outcome === 'lost') {
        options.logger.error(
          { from: hashToDisplay(position.hash), height: position.height },
          'the node no longer knows the last told block nor its way back; going on from the tip',
        );
        reorg = undefined;
        await settle((await chain.getSync(signal)).tip, signal);
        break;
      }
      unsettled = outcome === 'unsettled' ? unsettled + 1 : 0;
      if (unsettled > MAX_UNSETTLED_STEPS)
        throw new HostError('NODE_ERROR', 'the node names blocks that it does not have');
    }
    downloading = false;
    finishReorg();
  };

  let running: Promise<void> | undefined;
  let queued: Promise<void> | undefined;
  const catchUp = (signal: AbortSignal): Promise<void> => {
    if (running === undefined) {
      // begun in a turn of its own: a hint that comes out of the walk's first question must find it running
      running = Promise.resolve()
        .then(() => walk(signal))
        .finally(() => {
          running = undefined;
        });
      return running;
    }
    queued ??= running
      .catch(() => undefined)
      .then(() => {
        queued = undefined;
        return catchUp(signal);
      });
    return queued;
  };

  return { catchUp, position: () => position, downloading: () => downloading };
}

/** The answer, or undefined when the node does not know the block. */
async function unlessUnknown<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (HostError.from(error).reason === 'BLOCK_NOT_FOUND') return undefined;
    throw error;
  }
}
