import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { HostError, throwIfAborted } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { NodeApi, NodeEvent, NodeInfo, NodeListener, SubmitBlockVerdict } from '../node-api.js';
import { type BlockStore, createMemoryStore, openFileStore } from './block-store.js';
import { createChainApi, createUtxoApi } from './chain-api.js';
import { type ChainChange, type Chainstate, createChainstate } from './chainstate.js';
import { createCoinSet } from './coins.js';
import { createControl, type DevchainControl } from './control.js';
import { createMempool, type Mempool } from './mempool.js';
import { createMempoolApi } from './mempool-api.js';
import { createMiningApi } from './mining-api.js';
import { createNetworkApi } from './network-api.js';
import { createPacer } from './pacer.js';
import { DEFAULT_MIN_RELAY_SAT_PER_KVB } from './relay-policy.js';
import { createScriptChecker } from './script-checker.js';
import { createSerial } from './serial.js';
import { createSpender, type Spender } from './spender.js';
import { makeTemplate, newTip } from './template.js';
import { createTemplateWatch } from './template-watch.js';
import { createWallet, loadSeed, SEED_BYTES, type Wallet } from './wallet.js';

/** Name of the blocks' file in the data directory. */
export const BLOCKS_FILE = 'blocks.dat';

/** What the devchain answers for its version. */
export const DEVCHAIN_VERSION = '/modhost-devchain:0.1.0/';

/** Blocks made at the first start when transactions are wanted: the first coinbases are spendable at once. */
const DEFAULT_PREMINE_WITH_ACTIVITY = 120;

/** How a devchain is to behave. */
export interface DevchainOptions {
  clock: Clock;
  logger: Logger;
  /** Directory of its own for blocks and wallet seed; without one nothing outlives the process. */
  dataDir?: string | undefined;
  /** Randomness; the machine's by default. With a fixed clock, seed and randomness two runs give the same hashes. */
  random?: ((bytes: number) => Uint8Array) | undefined;
  /** Wallet seed, 32 bytes; by default the one kept in `dataDir`, or a fresh one. */
  seed?: Uint8Array | undefined;
  /** Milliseconds between blocks; 0 or undefined = blocks on demand only. */
  blockIntervalMs?: number | undefined;
  /** Transactions of the wallet's own in front of each block that the clock brings. */
  activity?: { transactionsPerBlock: number } | undefined;
  /** Blocks made by the first start of a new chain, before any event; 0 by default, 120 with `activity`. */
  premineBlocks?: number | undefined;
  /** Rate below which the mempool takes nothing; 1,000 by default. */
  minRelaySatPerKvb?: bigint | undefined;
}

/** A Bitcoin chain of its own, behind the port, and the handles that only its owner has. */
export interface Devchain extends NodeApi {
  readonly control: DevchainControl;
}

/** Everything that exists between start and stop. */
export interface Running {
  chain: Chainstate;
  mempool: Mempool;
  wallet: Wallet;
  spender: Spender;
  store: BlockStore;
}

/**
 * Makes the embedded default node: a regtest chain in this process whose blocks Bitcoin Core's engine accepts. It says
 * of itself that it is simulated, has no peers, and verifies P2WPKH, taproot key path, pay-to-anchor and lone OP_TRUE
 * spends; spends of other scripts it refuses by name (`non-verifiable-script`, `devchain-unsupported-script`).
 *
 * Blocks survive in `dataDir`, stale branches included; the mempool does not. That only one process uses the directory
 * is for the host to see to.
 */
export function createDevchain(options: DevchainOptions): Devchain {
  const { clock, logger } = options;
  const random = options.random ?? ((bytes) => new Uint8Array(randomBytes(bytes)));
  const minRelaySatPerKvb = options.minRelaySatPerKvb ?? DEFAULT_MIN_RELAY_SAT_PER_KVB;
  const serial = createSerial();
  const pacer = createPacer(clock);
  let running: Running | undefined;
  let starting = false;
  let stopped = false;
  let listener: NodeListener | undefined;
  let blockTimer: NodeJS.Timeout | undefined;

  const opened = (): Running => {
    if (running === undefined) throw new HostError('NODE_UNAVAILABLE', 'the devchain is not running');
    return running;
  };
  const watch = createTemplateWatch({
    make: (rules) => {
      const made = serial(
        async () => running && makeTemplate(running.chain.tree.tip, running.mempool.pool, rules, clock),
      );
      return made.catch((error: unknown) => {
        logger.error({ error }, 'the devchain could not make a template');
        return undefined;
      });
    },
    tell,
  });
  const control = createControl({ opened, serial, clock, accept: acceptBlock, follow });

  return {
    control,
    async start(toListener, signal) {
      if (running !== undefined || starting || stopped) {
        throw new HostError('NODE_UNAVAILABLE', `the devchain was ${stopped ? 'stopped' : 'started'} already`);
      }
      starting = true;
      try {
        throwIfAborted(signal);
        running = await open(signal);
        await premine(signal);
        if (stopped) throw new HostError('NODE_UNAVAILABLE', 'the devchain was stopped while it started');
        listener = toListener;
        scheduleBlock();
      } catch (error) {
        await close();
        throw error;
      } finally {
        starting = false;
      }
    },
    async stop() {
      stopped = true;
      await close();
    },
    async getInfo(signal) {
      throwIfAborted(signal);
      opened();
      return describe();
    },
    watchTemplates: (rules) => watch.add(rules),
    chain: createChainApi(opened),
    utxo: createUtxoApi(opened),
    mempool: createMempoolApi(opened, serial, minRelaySatPerKvb),
    network: createNetworkApi(opened),
    mining: createMiningApi({ opened, serial, clock, logger, accept: acceptBlock }),
  };

  async function open(signal: AbortSignal): Promise<Running> {
    const { dataDir } = options;
    const seed = options.seed ?? (dataDir === undefined ? random(SEED_BYTES) : await loadSeed(dataDir, random, logger));
    const wallet = createWallet(seed, random);
    const store = dataDir === undefined ? createMemoryStore() : await openFileStore(join(dataDir, BLOCKS_FILE), logger);
    try {
      const coins = createCoinSet([wallet.taprootScript, wallet.keyHashScript]);
      const scripts = createScriptChecker(pacer);
      const chain = createChainstate({ store, coins, scripts, pacer, clock });
      await chain.load(signal);
      const mempool = createMempool({ tree: chain.tree, coins, scripts, minRelaySatPerKvb, clock, pacer, tell });
      const spender = createSpender({ wallet, tree: chain.tree, coins, pool: () => mempool.pool, random });
      return { chain, mempool, wallet, spender, store };
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async function premine(signal: AbortSignal): Promise<void> {
    const wanted = options.premineBlocks ?? (options.activity === undefined ? 0 : DEFAULT_PREMINE_WITH_ACTIVITY);
    if (opened().chain.tree.size === 1 && wanted > 0) await control.mine(wanted, undefined, signal);
  }

  async function close(): Promise<void> {
    clearTimeout(blockTimer);
    watch.close();
    const closing = running;
    running = undefined;
    listener = undefined;
    // What is under way ends first; what still waits finds the devchain stopped.
    await serial(async () => closing?.store.close());
  }

  /** Runs inside the queue. */
  async function acceptBlock(raw: Uint8Array): Promise<SubmitBlockVerdict> {
    const { verdict, change } = await opened().chain.accept(raw);
    if (change !== undefined) await follow(change);
    return verdict;
  }

  /** Tells a move of the tip and lets the mempool follow it. Runs inside the queue. */
  async function follow(change: ChainChange): Promise<void> {
    for (const { node } of change.disconnected) {
      tell({ type: 'BlockDisconnected', hash: node.hash, height: node.height, header: node.headerBytes });
    }
    for (const { node } of change.connected) {
      const { hash, height, headerBytes: header, txCount, sizeBytes, weight } = node;
      tell({ type: 'BlockConnected', hash, height, header, txCount, sizeBytes, weight });
    }
    const { oldTip, newTip: tip, fork } = change;
    if (change.disconnected.length > 0) {
      tell({ type: 'ChainReorg', oldTip: position(oldTip), newTip: position(tip), fork: position(fork) });
    }
    tell({ type: 'NewTip', ...newTip(tip) });
    await running?.mempool.follow(change);
    watch.tipChanged();
  }

  function tell(event: NodeEvent): void {
    try {
      listener?.(event);
    } catch (error) {
      logger.error({ error, event: event.type }, 'a listener of the devchain failed');
    }
    if (event.type === 'TransactionAdded' || event.type === 'TransactionRemoved') watch.mempoolChanged();
  }

  function scheduleBlock(): void {
    const intervalMs = options.blockIntervalMs ?? 0;
    if (intervalMs <= 0 || running === undefined) return;
    blockTimer = setTimeout(async () => {
      try {
        await control.spend(options.activity?.transactionsPerBlock ?? 0);
        await control.mine(1);
      } catch (error) {
        // A full disk or a stop: the next interval tries again, or finds the devchain stopped.
        if (running !== undefined) logger.error({ error }, 'the devchain could not mine its next block');
      }
      scheduleBlock();
    }, intervalMs);
    blockTimer.unref();
  }
}

function position(node: { hash: Uint8Array; height: number }): { hash: Uint8Array; height: number } {
  return { hash: node.hash, height: node.height };
}

function describe(): NodeInfo {
  return {
    kind: 'devchain',
    version: DEVCHAIN_VERSION,
    network: 'regtest',
    simulated: true,
    pruned: false,
    pruneHeight: 0,
    initialBlockDownload: false,
    indexes: ['txindex'],
    features: [
      'utxo',
      'mempool',
      'submit-transaction',
      'submit-package',
      'test-transaction',
      'fee-estimate',
      'network',
      'mining-template',
      'submit-block',
      'queue-block',
    ],
  };
}
