import { SyncPhase } from '../../gen/ts/modhost/event/v1/sync.js';
import type { EventPayload } from '../contract/event-type.js';
import type { Clock } from '../core/clock.js';
import type { NodeApi, SyncState } from '../node/node-api.js';

/** Follows the node's synchronisation and tells its beginnings, ends and progress. */
export interface SyncWatch {
  changed(now: SyncState): void;
  progressed(now: SyncState, blocksPerSecond: number): void;
  /** The connection to the node came up or went down. */
  connection(up: boolean): void;
}

/** A node that makes no headway does not say why, so it is UNKNOWN, not ERROR. */
const PHASES: Readonly<Record<SyncState['phase'], SyncPhase>> = {
  headers: SyncPhase.HEADERS,
  blocks: SyncPhase.BLOCKS,
  synced: SyncPhase.SYNCED,
  stalled: SyncPhase.UNKNOWN,
};

/** Makes the watch of one node. */
export function createSyncWatch(
  node: Pick<NodeApi, 'chain'>,
  clock: Clock,
  publish: (payload: EventPayload) => void,
): SyncWatch {
  let phase: SyncPhase = SyncPhase.UNKNOWN;
  /** When the running download of headers or blocks began, monotonic milliseconds. */
  let begun: { phase: SyncPhase; atMs: number } | undefined;
  let connections = 0;

  const enter = (next: SyncPhase): void => {
    if (next === phase) return;
    publish({ $case: 'syncStateChanged', value: { oldState: phase, newState: next } });
    phase = next;
  };

  const begin = (now: SyncState): void => {
    if (begun?.phase === phase) return;
    if (phase === SyncPhase.HEADERS) {
      publish({ $case: 'headersSyncStarted', value: { startHeight: now.headers } });
    } else if (phase === SyncPhase.BLOCKS) {
      publish({ $case: 'blockSyncStarted', value: { startHeight: now.blocks, targetHeight: now.headers } });
    } else return;
    begun = { phase, atMs: clock.monotonicMs() };
  };

  /** A download ends when the next phase is reached; one that stalls or falls back has not ended. */
  const end = (now: SyncState): void => {
    if (begun === undefined || phase <= begun.phase) return;
    const durationMs = BigInt(Math.round(clock.monotonicMs() - begun.atMs));
    if (begun.phase === SyncPhase.HEADERS) {
      publish({ $case: 'headersSyncCompleted', value: { finalHeight: now.headers, durationMs } });
    } else if (phase === SyncPhase.SYNCED) {
      publish({ $case: 'blockSyncCompleted', value: { finalHeight: now.blocks, durationMs } });
    }
    begun = undefined;
  };

  const changed = (now: SyncState): void => {
    enter(PHASES[now.phase]);
    end(now);
    begin(now);
  };

  return {
    changed,
    progressed(now, blocksPerSecond) {
      const progressPercent = Math.min(100, Math.max(0, now.progress * 100));
      if (now.phase === 'headers') {
        publish({
          $case: 'headersSyncProgress',
          value: { currentHeight: now.headers, targetHeight: 0, progressPercent },
        });
      } else if (now.phase === 'blocks') {
        publish({
          $case: 'blockSyncProgress',
          value: {
            currentHeight: now.blocks,
            targetHeight: now.headers,
            progressPercent,
            blocksPerSecond,
            headers: [],
            firstHeight: 0,
          },
        });
      }
    },
    connection(up) {
      connections += 1;
      const mine = connections;
      if (!up) return enter(SyncPhase.UNKNOWN);
      node.chain.getSync(new AbortController().signal).then(
        (now) => {
          // a connection that was lost again in between knows better
          if (mine === connections) changed(now);
        },
        // the adapter tells the phase itself once the node answers
        () => {},
      );
    },
  };
}
