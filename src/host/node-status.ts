import type { NodeStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { NodeBudget } from '../node/budget.js';
import type { ChainState, NodeApi, NodeEvent, NodeInfo, SyncState } from '../node/node-api.js';

/** How long a status waits for the node before it tells what was known last. */
const ASK_TIMEOUT_MS = 2_000;

/** What the host knows of its node. */
export interface NodeWatch {
  offer(event: NodeEvent): void;
  /** Asks the node, but not for long; what it does not tell is told as known last. */
  status(signal: AbortSignal): Promise<NodeStatus>;
  /** The last word of the node on itself; undefined until it was reached. */
  info(): NodeInfo | undefined;
  refresh(signal: AbortSignal): Promise<void>;
}

/** Makes the watch of one node; while there is an obstacle it asks nothing. */
export function createNodeWatch(
  node: NodeApi,
  budget: NodeBudget,
  maxCalls: number,
  clock: Clock,
  obstacle: () => HostError | undefined,
): NodeWatch {
  let info: NodeInfo | undefined;
  let chain: ChainState | undefined;
  let sync: SyncState | undefined;
  let up = false;
  let detail = '';
  let lastError: { error: HostError; timeUnixMs: number } | undefined;

  const refresh = async (signal: AbortSignal): Promise<void> => {
    const unreached = obstacle();
    if (unreached !== undefined) {
      lastError = { error: unreached, timeUnixMs: clock.unixMs() };
      return;
    }
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(ASK_TIMEOUT_MS)]);
    try {
      info = await node.getInfo(bounded);
      [chain, sync] = await Promise.all([node.chain.getState(bounded), node.chain.getSync(bounded)]);
      up = true;
    } catch (thrown) {
      const error = HostError.from(thrown);
      lastError = { error, timeUnixMs: clock.unixMs() };
      // a node that syncs or is busy answers, so it is there
      up = error.reason === 'NODE_SYNCING' || error.reason === 'NODE_BUSY';
    }
  };
  return {
    info: () => info,
    refresh,
    offer(event) {
      if (event.type !== 'NodeConnection') return;
      up = event.up;
      detail = event.detail;
    },
    async status(signal) {
      await refresh(signal);
      const inFlight = [...budget.usage().values()].reduce((sum, { running }) => sum + running, 0);
      return {
        kind: info?.kind ?? '',
        version: info?.version ?? '',
        network: info?.network ?? 'unknown',
        simulated: info?.simulated ?? false,
        reachable: up,
        lastError:
          lastError === undefined
            ? undefined
            : {
                reason: ReasonNumber[lastError.error.reason],
                message: lastError.error.message,
                timeUnixMs: BigInt(lastError.timeUnixMs),
              },
        tipHash: chain?.tip.hash ?? new Uint8Array(),
        tipHeight: chain?.tip.height ?? 0,
        headerHeight: sync?.headers ?? 0,
        initialBlockDownload: sync?.initialBlockDownload ?? false,
        syncProgress: sync?.progress ?? 0,
        pruned: info?.pruned ?? false,
        pruneHeight: info?.pruneHeight ?? 0,
        indexes: info?.indexes ?? [],
        features: info?.features ?? [],
        notifications: detail,
        callsInFlight: inFlight,
        maxCallsInFlight: maxCalls,
      };
    },
  };
}
