import { HostError } from '../../contract/error.js';
import { equalBytes } from '../../core/bytes.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { BlockTemplate, NewTip } from '../block-template.js';
import type { NodeEvent, NodeListener, Peer } from '../node-api.js';
import { type ChainFollower, createChainFollower, type FollowedBlock, type FollowedChain } from './chain-follower.js';
import { createFeeWatch, type WatchedFeeRate } from './fee-watch.js';
import { createForkWatch, type Deployment } from './fork-watch.js';
import { createMempoolTracker } from './mempool-tracker.js';
import { createMempoolWatch, type MempoolChange, type WatchedMempool } from './mempool-watch.js';
import { type Ban, createPeerWatch } from './peer-watch.js';
import { type Poller, startPoller } from './poller.js';
import { isMissingCall } from './rpc-failure.js';
import { createTemplateWatch } from './template-watch.js';

/** Times between two looks, milliseconds. */
export interface WatchIntervals {
  /** At the best block, where nothing tells of it. */
  chainMs: number;
  /** At the best block, where the node tells of it: finds what a lost last message hides. */
  chainWhileToldMs: number;
  /** At the mempool, where changes are found by comparing lists. */
  mempoolMs: number;
  /** At the mempool, where the node streams its changes. */
  mempoolWhileToldMs: number;
  /** At peers, bans and fee rate. */
  slowMs: number;
  /** At the template, while somebody watches. */
  templateMs: number;
}

/** Quick enough for people, slow enough for a node that is shared with other software. */
export const DEFAULT_INTERVALS: WatchIntervals = {
  chainMs: 2_000,
  chainWhileToldMs: 10_000,
  mempoolMs: 5_000,
  mempoolWhileToldMs: 300_000,
  slowMs: 30_000,
  templateMs: 15_000,
};

/** Blocks between two looks at the soft forks; states change at multiples of 144 (regtest) or 2,016 alone. */
const FORK_CHECK_BLOCKS = 144;

/** Shortest time between two lists of the mempool, however many hints arrive. */
const MEMPOOL_LEAST_GAP_MS = 1_000;

/** What is watched of a node, in its own dialect. Calls that the node lacks are absent. */
export interface WatchedNode {
  chain: FollowedChain & { getBestHash(signal: AbortSignal): Promise<Uint8Array> };
  mempool: WatchedMempool;
  getPeers(signal: AbortSignal): Promise<readonly Peer[]>;
  getBans?(signal: AbortSignal): Promise<readonly Ban[]>;
  getDeployments(signal: AbortSignal): Promise<readonly Deployment[]>;
  /** Estimate, else the mempool's minimum. */
  getFeeRate(signal: AbortSignal): Promise<WatchedFeeRate>;
  /** What is known of the block after this one before its template is; undefined when that is not known. */
  getNewTip(block: FollowedBlock, signal: AbortSignal): Promise<NewTip | undefined>;
  getTemplate(rules: readonly string[], signal: AbortSignal): Promise<BlockTemplate>;
  /** The connection came up again: what was learned of the old process may be wrong. */
  reconnected?(): void;
}

/** Tells everything that a node behind JSON-RPC can be known to do. */
export interface NodeWatch {
  /** Settles where the chain stands, then tells events until `stop`. @throws what the node's first answers throw */
  start(listener: NodeListener, signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /** Something happened to the chain. */
  blockHint(): void;
  /** Something happened to the mempool. */
  mempoolHint(): void;
  /** The node tells of blocks (or of mempool changes) by itself from now on, or no longer. */
  told(what: { blocks: boolean; mempool: boolean }): void;
  /** A streamed change of the mempool. */
  mempoolChange(change: MempoolChange): void;
  /** Messages were lost: everything is compared with the node's own state. */
  gap(): void;
  banned(address: string, durationMs: number): void;
  watchTemplates(rules: readonly string[]): () => void;
}

/** What a watch needs of the house. */
export interface WatchContext {
  clock: Clock;
  logger: Logger;
  /** Numbers in [0, 1); spreads retries. */
  random: () => number;
  intervals: WatchIntervals;
}

/** Makes the watch of one node; it does nothing before `start`. */
export function createNodeWatch(node: WatchedNode, context: WatchContext): NodeWatch {
  const { logger, intervals } = context;
  const lifetime = new AbortController();
  const { signal } = lifetime;
  let listener: NodeListener = () => {};
  const emit = (event: NodeEvent): void => listener(event);

  const tracker = createMempoolTracker(emit);
  const peers = createPeerWatch(emit);
  const forks = createForkWatch(emit);
  const fees = createFeeWatch(emit, () => tracker.count());
  const told = { blocks: false, mempool: false };
  let up = true;
  /** The mempool's next list is the first after a lost connection. */
  let restarted = false;
  let lastFork = Number.NEGATIVE_INFINITY;
  let newest: FollowedBlock | undefined;
  let started = false;
  const pollers = new Map<string, Poller>();
  const poke = (...names: string[]): void => {
    for (const name of names) pollers.get(name)?.poke();
  };

  const follower: ChainFollower = createChainFollower(
    node.chain,
    {
      emit,
      connected(block) {
        newest = block;
        tracker.blockConnected(block.txids);
        poke('work', 'fees', 'forks');
      },
      disconnected() {
        tracker.blockDisconnected();
        poke('work');
      },
    },
    context,
  );
  const mempool = createMempoolWatch(node.mempool, tracker, (at) => follower.catchUp(at), logger);
  const templates = createTemplateWatch(getTemplate, emit, () => poke('work'));

  const setUp = (now: boolean, detail: string): void => {
    if (up === now) return;
    up = now;
    emit({ type: 'NodeConnection', up, detail });
    if (!up) return;
    restarted = true;
    node.reconnected?.();
    poke('mempool', 'slow');
  };

  /** The last failure of each poller: it is logged when it begins, not at each attempt. */
  const failures = new Map<string, string>();
  const failed = (what: string, error: unknown): void => {
    const failure = HostError.from(error);
    if (failure.reason === 'NODE_UNAVAILABLE') setUp(false, failure.message);
    if (failures.get(what) === failure.reason) return;
    failures.set(what, failure.reason);
    const fields = { what, reason: failure.reason, error: failure.message, cause: causeOf(failure) };
    logger.warn(fields, 'the node could not be watched; trying again');
  };

  let hinted = true;
  const look = async (): Promise<void> => {
    const position = follower.position();
    const urgent = hinted || downloading;
    hinted = false;
    try {
      // One small question first: most looks find nothing new.
      const best = urgent ? undefined : await node.chain.getBestHash(signal);
      if (best === undefined || position === undefined || !equalBytes(best, position.hash)) await follow();
    } catch (error) {
      hinted = true;
      throw error;
    }
    setUp(true, 'the node answers again');
  };
  let downloading = false;
  const follow = async (): Promise<void> => {
    await follower.catchUp(signal);
    downloading = follower.downloading();
  };

  const compareMempool = async (): Promise<void> => {
    const first = restarted;
    restarted = false;
    await mempool.compare({ streamed: told.mempool, restarted: first }, signal);
  };

  const lookSlowly = async (): Promise<void> => {
    peers.peers(await node.getPeers(signal));
    if (node.getBans !== undefined) peers.bans(await node.getBans(signal));
  };

  const lookAtFees = async (): Promise<void> => {
    fees(await node.getFeeRate(signal));
  };

  const lookAtForks = async (): Promise<void> => {
    const height = follower.position()?.height ?? 0;
    if (Math.abs(height - lastFork) < FORK_CHECK_BLOCKS && height % FORK_CHECK_BLOCKS !== 0) return;
    forks(await node.getDeployments(signal), height);
    lastFork = height;
  };

  const tellTip = async (): Promise<void> => {
    const block = newest;
    const position = follower.position();
    if (block === undefined || position === undefined || !equalBytes(block.hash, position.hash)) return;
    newest = undefined;
    const tip = await node.getNewTip(block, signal);
    if (tip !== undefined) emit({ type: 'NewTip', ...tip });
  };

  /** A template, told only after the tip that it builds on: miners switch at the tip, not at the larger template. */
  async function getTemplate(rules: readonly string[], at: AbortSignal): Promise<BlockTemplate> {
    const template = await node.getTemplate(rules, at);
    const position = follower.position();
    if (position === undefined || !equalBytes(template.previousHash, position.hash)) await follower.catchUp(at);
    await tellTip();
    return template;
  }

  const lookAtWork = async (): Promise<void> => {
    await tellTip();
    await templates.refresh(signal);
  };

  /** A poller whose call the node lacks, or forbids the host's user, asks rarely instead of failing loudly. */
  const start = (name: string, run: () => Promise<void>, intervalMs: () => number, leastGapMs?: number): void => {
    let refused = false;
    const guarded = async (): Promise<void> => {
      try {
        await run();
        failures.delete(name);
      } catch (error) {
        if (name === 'chain' || !isMissingCall(error)) throw error;
        if (!refused)
          logger.info({ what: name, error: HostError.from(error).message }, 'not watched: the node does not allow it');
        refused = true;
      }
    };
    pollers.set(
      name,
      startPoller(
        { run: guarded, failed: (error) => failed(name, error), intervalMs, leastGapMs },
        { ...context, signal },
      ),
    );
  };

  return {
    async start(to, startSignal) {
      if (started || signal.aborted) throw new HostError('INVALID_REQUEST', 'a node adapter is started once');
      started = true;
      listener = to;
      try {
        await follower.catchUp(startSignal);
      } catch (error) {
        // nothing runs yet: a node that was not there may be started again
        started = false;
        throw error;
      }
      downloading = follower.downloading();
      emit({ type: 'NodeConnection', up: true, detail: 'connected' });
      start('chain', look, () => (told.blocks && !downloading ? intervals.chainWhileToldMs : intervals.chainMs));
      start(
        'mempool',
        compareMempool,
        () => (told.mempool ? intervals.mempoolWhileToldMs : intervals.mempoolMs),
        Math.min(MEMPOOL_LEAST_GAP_MS, intervals.mempoolMs),
      );
      start('slow', lookSlowly, () => intervals.slowMs);
      start('fees', lookAtFees, () => intervals.slowMs);
      start('forks', lookAtForks, () => intervals.slowMs * 10);
      start('work', lookAtWork, () => (templates.watched() ? intervals.templateMs : intervals.slowMs));
    },
    async stop() {
      lifetime.abort(new HostError('CANCELLED', 'the node adapter stops'));
      await Promise.all([...pollers.values()].map((poller) => poller.done()));
      listener = () => {};
    },
    blockHint() {
      hinted = true;
      poke('chain');
    },
    mempoolHint: () => poke('mempool'),
    told(what) {
      Object.assign(told, what);
    },
    mempoolChange: (change) => mempool.change(change),
    gap() {
      hinted = true;
      poke('chain', 'mempool');
    },
    banned: (address, durationMs) => peers.banned(address, durationMs),
    watchTemplates: (rules) => templates.watch(rules),
  };
}

/** Text of an unforeseen error's cause, for the log. */
function causeOf(failure: HostError): string | undefined {
  return failure.reason === 'INTERNAL' ? String(failure.cause) : undefined;
}
