import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { getChainSummary, networkName } from '../jsonrpc/chain-calls.js';
import { createNodeWatch, DEFAULT_INTERVALS } from '../jsonrpc/node-watch.js';
import { createRpcClient } from '../jsonrpc/rpc-client.js';
import { isMissingCall } from '../jsonrpc/rpc-failure.js';
import { untilWarm } from '../jsonrpc/warm-up.js';
import type { NetworkName, NodeApi, NodeFeature } from '../node-api.js';
import { createBitcoindChain } from './chain.js';
import { createBitcoindMempool } from './mempool.js';
import { createBitcoindMining } from './mining.js';
import { createBitcoindNetwork, networkSummary } from './network.js';
import { createNotifications } from './notifications.js';
import { type BitcoindOptions, resolveBitcoind } from './options.js';
import { createRestBlocks } from './rest.js';
import { createBitcoindUtxo } from './utxo.js';
import { createWatchedBitcoind } from './watched.js';

/** First version whose `submitpackage` works on every network. */
const SUBMITPACKAGE_VERSION = 260_000;

/** What the adapter needs of the house. */
export interface NodeContext {
  clock: Clock;
  logger: Logger;
  /** Numbers in [0, 1); spreads retries. */
  random: () => number;
}

/**
 * Bitcoin Core (22.0 or newer) over JSON-RPC, REST and ZMQ. Opens nothing before `start`.
 *
 * @throws BAD_CONFIG for options that cannot be meant
 */
export function createBitcoindNode(options: BitcoindOptions, context: NodeContext): NodeApi {
  const { url, credentials } = resolveBitcoind(options);
  // Two more than the host's share: the watch asks beside the modules.
  const rpc = createRpcClient(
    { url, credentials, batching: true, maxSockets: options.maxCallsInFlight + 2 },
    context.random,
  );
  const waitingRpc = createRpcClient({ url, credentials, batching: true, maxSockets: 1 }, context.random);
  const rest = createRestBlocks(rpc, options.rest);
  let network: NetworkName = 'unknown';
  let stopping: Promise<void> | undefined;

  const chain = createBitcoindChain(rpc, rest);
  const mempool = createBitcoindMempool(rpc);
  const mining = createBitcoindMining(rpc, () => network);
  const peers = createBitcoindNetwork(rpc, (address, durationMs) => watch.banned(address, durationMs));
  const watch = createNodeWatch(
    createWatchedBitcoind({ rpc, chain, mempool, mining, peers, network: () => network, reconnected }),
    { ...context, intervals: { ...DEFAULT_INTERVALS, ...options.intervals } },
  );
  const notifications = createNotifications({
    ...context,
    rpc,
    waitingRpc,
    watch: () => watch,
    options,
    rpcHost: new URL(url).hostname,
  });
  function reconnected(): void {
    rest.reset();
    notifications.reopen();
  }

  return {
    chain,
    utxo: createBitcoindUtxo(rpc, chain.heightOf),
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
      await notifications.open(signal);
    },

    stop() {
      stopping ??= (async () => {
        await Promise.all([watch.stop(), notifications.stop()]);
        rpc.close();
        waitingRpc.close();
      })();
      return stopping;
    },

    async getInfo(signal) {
      const [summary, about, indexes] = await Promise.all([
        getChainSummary(rpc, signal),
        rpc.call('getnetworkinfo', [], networkSummary, { signal }),
        rpc.call('getindexinfo', [], z.record(z.string(), z.unknown()), { signal }).catch((error: unknown) => {
          if (isMissingCall(error)) return {};
          throw error;
        }),
      ]);
      network = networkName(summary.chain);
      return {
        kind: 'bitcoind',
        version: about.subversion,
        network,
        simulated: false,
        pruned: summary.pruned ?? false,
        pruneHeight: summary.pruneheight ?? 0,
        initialBlockDownload: summary.initialblockdownload ?? false,
        indexes: Object.keys(indexes),
        features: featuresOf(about.version),
      };
    },
  };
}

function featuresOf(version: number): NodeFeature[] {
  const features: NodeFeature[] = [
    'utxo',
    'mempool',
    'submit-transaction',
    'test-transaction',
    'fee-estimate',
    'network',
    'ban-peer',
    'mining-template',
    'submit-block',
  ];
  if (version >= SUBMITPACKAGE_VERSION) features.push('submit-package');
  return features;
}
