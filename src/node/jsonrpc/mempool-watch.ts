import type { Logger } from '../../core/logger.js';
import { MAX_TRACKED_TRANSACTIONS, type MempoolTracker } from './mempool-tracker.js';

/** Largest mempool that is compared by listing it again and again (1.3 MB of ids each time). */
const MAX_POLLED_TRANSACTIONS = 20_000;

/** Changes kept while a list is on its way; above it the list is asked for again. */
const MAX_BUFFERED_CHANGES = 100_000;

/** One change as the node streams it. */
export interface MempoolChange {
  kind: 'added' | 'removed';
  txid: Uint8Array;
  /** Number of the change in the node's own count, where it has one. */
  mark?: bigint | undefined;
}

/** What the watch asks of a node. */
export interface WatchedMempool {
  getCount(signal: AbortSignal): Promise<number>;
  /** Ids, and the number of the first change that is not in them, where the node counts. */
  listTxids(signal: AbortSignal): Promise<{ txids: readonly Uint8Array[]; mark?: bigint | undefined }>;
}

/** Brings lists and streamed changes of one mempool into one order. */
export interface MempoolWatch {
  /** A change that the node streams. */
  change(change: MempoolChange): void;
  /**
   * Lists the mempool and tells the differences. `streamed` = changes come by themselves, so that a large list is
   * needed once only; without it a mempool above MAX_POLLED_TRANSACTIONS is not compared.
   */
  compare(options: { streamed: boolean; restarted: boolean }, signal: AbortSignal): Promise<void>;
}

/** Makes a watch; `settleChain` resolves when every block that the node had by then was told. */
export function createMempoolWatch(
  mempool: WatchedMempool,
  tracker: MempoolTracker,
  settleChain: (signal: AbortSignal) => Promise<void>,
  logger: Logger,
): MempoolWatch {
  /** Set while a list is on its way: what happens meanwhile is told after it. */
  let buffer: MempoolChange[] | undefined;
  let overflowed = false;
  let told = false;

  const apply = (change: MempoolChange): void => {
    if (change.kind === 'added') tracker.added(change.txid);
    else tracker.removed(change.txid, 'unknown');
  };

  const list = async (streamed: boolean, restarted: boolean, signal: AbortSignal): Promise<void> => {
    const count = await mempool.getCount(signal);
    const bound = streamed ? MAX_TRACKED_TRANSACTIONS : MAX_POLLED_TRANSACTIONS;
    if (count > bound) {
      if (!told)
        logger.warn({ count, bound }, 'the mempool is too large to be compared; some of its events are not told');
      told = true;
      await settleChain(signal);
      return tracker.countOnly(count);
    }
    const { txids, mark } = await mempool.listTxids(signal);
    // Blocks first: a transaction that is not in the list any more may have been confirmed.
    await settleChain(signal);
    tracker.snapshot(txids, restarted);
    const changes = buffer ?? [];
    for (const change of changes) {
      if (mark === undefined || change.mark === undefined || change.mark >= mark) apply(change);
    }
  };

  return {
    change(change) {
      if (buffer === undefined) return apply(change);
      if (buffer.length < MAX_BUFFERED_CHANGES) buffer.push(change);
      else overflowed = true;
    },
    async compare({ streamed, restarted }, signal) {
      do {
        overflowed = false;
        buffer = [];
        try {
          await list(streamed, restarted, signal);
        } finally {
          buffer = undefined;
        }
      } while (overflowed && !signal.aborted);
    },
  };
}
