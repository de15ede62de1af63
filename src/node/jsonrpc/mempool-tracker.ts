import { hashToDisplay } from '../../core/bytes.js';
import type { NodeEvent, RemovalReason } from '../node-api.js';

/**
 * Transactions whose ids are kept, so that losses can be found and confirmations told. A larger mempool is followed
 * by its count alone: about 100 bytes an id make this 20 MB.
 */
export const MAX_TRACKED_TRANSACTIONS = 200_000;

/** Blocks whose ids are kept, to tell confirmation from other removals that are noticed late. */
const REMEMBERED_BLOCKS = 6;

/** Knows what the mempool held, and tells what changed. Nothing is told before the first snapshot. */
export interface MempoolTracker {
  added(txid: Uint8Array): void;
  removed(txid: Uint8Array, reason: RemovalReason): void;
  blockConnected(txids: readonly Uint8Array[]): void;
  blockDisconnected(): void;
  /** The whole mempool at one moment: differences become events. `restarted` = the node may have begun with none. */
  snapshot(txids: readonly Uint8Array[], restarted: boolean): void;
  /** The mempool is too large to be listed; only its count is known. */
  countOnly(count: number): void;
  count(): number;
}

/** Makes a tracker of an unknown mempool. */
export function createMempoolTracker(emit: (event: NodeEvent) => void): MempoolTracker {
  /** Undefined before the first snapshot and while only the count is followed. */
  let held: Map<string, Uint8Array> | undefined;
  let counted = 0;
  let listening = false;
  const recentBlocks: Set<string>[] = [];

  const count = (): number => held?.size ?? counted;
  const confirmedLately = (id: string): boolean => recentBlocks.some((block) => block.has(id));
  const tellAdded = (txid: Uint8Array): void => emit({ type: 'TransactionAdded', txid, mempoolCount: count() });
  const tellRemoved = (txid: Uint8Array, reason: RemovalReason): void =>
    emit({ type: 'TransactionRemoved', txid, reason, mempoolCount: count() });

  const giveUpIds = (): void => {
    if (held === undefined || held.size <= MAX_TRACKED_TRANSACTIONS) return;
    counted = held.size;
    held = undefined;
  };

  const compare = (before: Map<string, Uint8Array>, txids: readonly Uint8Array[], restarted: boolean): void => {
    const now = new Map<string, Uint8Array>();
    for (const txid of txids) now.set(hashToDisplay(txid), txid);
    const gone = [...before].filter(([id]) => !now.has(id));
    held = before;
    // A node that restarts without its mempool has removed nothing for a reason: it forgot.
    if (restarted && now.size === 0 && gone.length > 0 && !gone.some(([id]) => confirmedLately(id))) {
      held = now;
      emit({ type: 'MempoolCleared', count: gone.length });
      return;
    }
    for (const [id, txid] of gone) {
      held.delete(id);
      tellRemoved(txid, confirmedLately(id) ? 'confirmed' : 'unknown');
    }
    for (const [id, txid] of now) {
      // The list may be older than the block that took the transaction out of it.
      if (held.has(id) || confirmedLately(id)) continue;
      held.set(id, txid);
      tellAdded(txid);
    }
    giveUpIds();
  };

  return {
    count,
    added(txid) {
      if (!listening) return;
      if (held === undefined) {
        counted += 1;
      } else {
        const id = hashToDisplay(txid);
        if (held.has(id)) return;
        held.set(id, txid);
        giveUpIds();
      }
      tellAdded(txid);
    },
    removed(txid, reason) {
      if (!listening) return;
      const id = hashToDisplay(txid);
      if (held === undefined) counted = Math.max(0, counted - 1);
      else if (!held.delete(id)) return;
      tellRemoved(txid, reason === 'unknown' && confirmedLately(id) ? 'confirmed' : reason);
    },
    blockConnected(txids) {
      recentBlocks.push(new Set(txids.map(hashToDisplay)));
      if (recentBlocks.length > REMEMBERED_BLOCKS) recentBlocks.shift();
      if (!listening || held === undefined) return;
      for (const txid of txids) {
        if (held.delete(hashToDisplay(txid))) tellRemoved(txid, 'confirmed');
      }
    },
    blockDisconnected() {
      recentBlocks.pop();
    },
    snapshot(txids, restarted) {
      if (listening && held !== undefined) return compare(held, txids, restarted);
      listening = true;
      held = new Map(txids.map((txid) => [hashToDisplay(txid), txid]));
      giveUpIds();
    },
    countOnly(size) {
      listening = true;
      held = undefined;
      counted = size;
    },
  };
}
