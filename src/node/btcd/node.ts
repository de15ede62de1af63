import { z } from 'zod';
import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { getChainSummary, networkName } from '../jsonrpc/chain-calls.js';
import { createNodeWatch, DEFAULT_INTERVALS } from '../jsonrpc/node-watch.js';
import { createRpcClient } from '../jsonrpc/rpc-client.js';
import { untilWarm } from '../jsonrpc/warm-up.js';
import type { NetworkName, NodeApi } from '../node-api.js';
import { createBtcdChain } from './chain.js';
import { createChainWork } from './chain-work.js';
import { createBtcdMempool } from './mempool.js';
import { createBtcdMining } from './mining.js';
import { createBtcdNetwork } from './network.js';
import { type BtcdOptions, btcdUrl, readCertificate } from './options.js';
import { getBtcdSync } from './sync.js';
import { createBtcdUtxo } from './utxo.js';
import { createWatchedBtcd } from './watched.js';
import { openWebsocketFeed, type WebsocketFeed } from './websocket.js';

/** What the adapter needs of the house. */
export interface NodeContext {
  clock: Clock;
  logger: Logger;
  /** Numbers in [0, 1); spreads retries. */
  random: () => number;
}

const aboutNode = z.object({ version: z.number().int().min(0) });

/** A hash that no transaction has: asking for it tells whether there is an index. */
const NO_TRANSACTION = new Uint8Array(32);

/**
 * btcd (0.24 or newer) over JSON-RPC and its WebSocket. Opens nothing before `start`.
 *
 * @throws BAD_CONFIG for options that cannot be meant
 */
export function createBtcdNode(options: BtcdOptions, context: NodeContext): NodeApi {
  const { user, password } = options;
  const url = btcdUrl(options);
  const rpc = createRpcClient(
    {
      url,
      credentials: { kind: 'password', user, password },
      batching: true,
      // Two more than the host's share: the watch asks beside the modules.
      maxSockets: options.maxCallsInFlight + 2,
      readCa: () => readCertificate(options),
    },
    context.random,
  );
  let network: NetworkName = 'unknown';
  let feed: WebsocketFeed | undefined;
  let stopping: Promise<void> | undefined;

  const chain = createBtcdChain(
    rpc,
    createChainWork(rpc, () => network),
    context.clock,
  );
  const mempool = createBtcdMempool(rpc, context.clock);
  const mining = createBtcdMining(rpc, () => network);
  const peers = createBtcdNetwork(rpc);
  const watch = createNodeWatch(
    createWatchedBtcd({ rpc, mempool, mining, peers, network: () => network, clock: context.clock }),
    { ...context, intervals: { ...DEFAULT_INTERVALS, ...options.intervals } },
  );

  const openFeed = async (): Promise<WebsocketFeed | undefined> =>
    openWebsocketFeed(
      {
        url: `${url.replace(/^http/, 'ws').replace(/\/$/, '')}/ws`,
        user,
        password,
        readCa: () => readCertificate(options),
      },
      {
        open() {
          // Blocks are told from now on; what the mempool loses is not, so it is still compared.
          watch.told({ blocks: true, mempool: false });
          watch.gap();
        },
        closed: () => {
          watch.told({ blocks: false, mempool: false });
          watch.blockHint();
        },
        block: () => watch.blockHint(),
        transaction: (txid) => watch.mempoolChange({ kind: 'added', txid }),
      },
      context.logger,
      context.random,
    );

  return {
    chain,
    utxo: createBtcdUtxo(rpc, chain.heightOf),
    mempool,
    network: peers,
    mining,
    rawRpc: rpc.raw,
    maxCallsInFlight: options.maxCallsInFlight,
    watchTemplates: (rules) => watch.watchTemplates(rules),

    async start(listener, signal) {
      const summary = await untilWarm(() => getChainSummary(rpc, signal), context.logger, signal);
      network = networkName(summary.chain);
      if (options.network !== undefined && options.network !== network) {
        throw new HostError('BAD_CONFIG', `the node is on ${network}, the configuration says ${options.network}`);
      }
      await watch.start(listener, signal);
      if (options.websocket) feed = await openFeed();
    },

    stop() {
      stopping ??= (async () => {
        await Promise.all([watch.stop(), feed?.stop()]);
        rpc.close();
      })();
      return stopping;
    },

    async getInfo(signal) {
      const [summary, about, sync, indexed] = await Promise.all([
        getChainSummary(rpc, signal),
        rpc.call('getinfo', [], aboutNode, { signal }),
        getBtcdSync(rpc, context.clock, signal),
        hasTransactionIndex(signal),
      ]);
      network = networkName(summary.chain);
      return {
        kind: 'btcd',
        version: `/btcd:${versionText(about.version)}/`,
        network,
        simulated: false,
        pruned: summary.pruned ?? false,
        pruneHeight: 0,
        initialBlockDownload: sync.sync.initialBlockDownload,
        indexes: indexed ? ['txindex'] : [],
        features: [
          'utxo',
          'mempool',
          'submit-transaction',
          'test-transaction',
          'fee-estimate',
          'network',
          'mining-template',
          'submit-block',
        ],
      };
    },
  };

  /** btcd lists no indexes, but its refusal of an unknown transaction tells. */
  async function hasTransactionIndex(signal: AbortSignal): Promise<boolean> {
    try {
      await chain.getTransaction(NO_TRANSACTION, undefined, signal);
      return true;
    } catch (error) {
      const { reason } = HostError.from(error);
      if (reason === 'TXINDEX_REQUIRED') return false;
      if (reason === 'TRANSACTION_NOT_FOUND') return true;
      throw error;
    }
  }
}

/** `260200` is how btcd 0.26.2 says its version: two digits each below the major one. */
function versionText(version: number): string {
  return [version / 1_000_000, (version / 10_000) % 100, (version / 100) % 100].map(Math.floor).join('.');
}
