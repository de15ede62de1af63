import type { Clock } from '../../core/clock.js';
import type { NodeEvent, SyncState } from '../node-api.js';

/** Shortest time between two SyncProgress events. */
const PROGRESS_INTERVAL_MS = 1_000;

/** A sync that makes no progress for this long is told as stalled. */
const STALLED_AFTER_MS = 10 * 60_000;

/** Hears how far the node is and tells what changed. */
export interface SyncProgressTeller {
  report(sync: SyncState): void;
}

/** Turns snapshots of the node's progress into SyncChanged and SyncProgress. */
export function createSyncProgress(
  emit: (event: NodeEvent) => void,
  clock: Pick<Clock, 'monotonicMs'>,
): SyncProgressTeller {
  let last: SyncState | undefined;
  let movedAt = clock.monotonicMs();
  let toldAt = Number.NEGATIVE_INFINITY;
  let toldBlocks = 0;
  return {
    report(sync) {
      const now = clock.monotonicMs();
      if (last === undefined || sync.blocks !== last.blocks || sync.headers !== last.headers) movedAt = now;
      const stalled = sync.phase !== 'synced' && now - movedAt >= STALLED_AFTER_MS;
      const state: SyncState = stalled ? { ...sync, phase: 'stalled' } : sync;
      if (last !== undefined && last.phase !== state.phase) {
        emit({ type: 'SyncChanged', old: last.phase, now: state });
      }
      if (state.phase !== 'synced' && now - toldAt >= PROGRESS_INTERVAL_MS) {
        const seconds = (now - toldAt) / 1_000;
        const blocks = state.blocks - toldBlocks;
        const blocksPerSecond = Number.isFinite(seconds) && blocks > 0 ? blocks / seconds : 0;
        emit({ type: 'SyncProgress', now: state, blocksPerSecond });
        toldAt = now;
        toldBlocks = state.blocks;
      }
      last = state;
    },
  };
}
