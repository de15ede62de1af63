import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { equalBytes } from '../../core/bytes.js';
import type { Clock } from '../../core/clock.js';
import { feeRate, hashText } from '../jsonrpc/answers.js';
import { getChainSummary, getFollowedBlock, getHashes, getHeaders, getRawHeader } from '../jsonrpc/chain-calls.js';
import { type Deployment, forkStateOf } from '../jsonrpc/fork-watch.js';
import { mempoolTxids } from '../jsonrpc/mempool-answers.js';
import { bitsAfter } from '../jsonrpc/next-bits.js';
import type { WatchedNode } from '../jsonrpc/node-watch.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import { halvingInterval, subsidyAt } from '../jsonrpc/template-answer.js';
import type { MempoolApi, MiningApi, NetworkApi, NetworkName } from '../node-api.js';
import { getBtcdSync } from './sync.js';

/** Target of the estimate whose changes are told: six blocks, an hour. */
const WATCHED_FEE_TARGET = 6;

const softForks = z.object({
  softforks: z.array(z.object({ id: z.string(), reject: z.object({ status: z.boolean() }).optional() })).nullish(),
  bip9_softforks: z.record(z.string(), z.object({ status: z.string() })).nullish(),
});

const relayFee = z.object({ relayfee: feeRate });

const mempoolCount = z.object({ size: z.number().int().min(0) });

/** Parts of the adapter that the watch looks through. */
export interface WatchedParts {
  rpc: RpcClient;
  mempool: MempoolApi;
  mining: MiningApi;
  peers: NetworkApi;
  network: () => NetworkName;
  clock: Clock;
}

/** btcd as the watch sees it. */
export function createWatchedBtcd(parts: WatchedParts): WatchedNode {
  const { rpc } = parts;
  return {
    chain: {
      getSync: (signal) => getBtcdSync(rpc, parts.clock, signal),
      getHashes: (heights, signal) => getHashes(rpc, heights, signal),
      async getBlock(hash, signal) {
        try {
          return await getFollowedBlock(rpc, hash, signal);
        } catch (error) {
          const failure = HostError.from(error);
          // btcd has no height for a block that has just left the active chain, and fails inside.
          if (failure.details.rpcCode !== -32_603) throw failure;
          throw new HostError('BLOCK_NOT_FOUND', 'the block is not on the active chain any more', { cause: error });
        }
      },
      getHeader: (hash, signal) => getRawHeader(rpc, hash, signal),
      getHeaders: (fromHeight, count, signal) => getHeaders(rpc, fromHeight, count, signal),
      getBestHash: (signal) => rpc.call('getbestblockhash', [], hashText, { signal }),
    },

    mempool: {
      getCount: async (signal) => (await rpc.call('getmempoolinfo', [], mempoolCount, { signal })).size,
      listTxids: async (signal) => ({
        txids: await rpc.call('getrawmempool', [false], mempoolTxids, { signal, plainNumbers: true }),
      }),
    },

    getPeers: (signal) => parts.peers.getPeers(signal),

    async getDeployments(signal) {
      const answer = await rpc.call('getblockchaininfo', [], softForks, { signal });
      const buried = (answer.softforks ?? []).map(
        ({ id, reject }): Deployment => ({ name: id, state: forkStateOf(undefined, reject?.status === true) }),
      );
      const signalled = Object.entries(answer.bip9_softforks ?? {}).map(
        ([name, { status }]): Deployment => ({ name, state: forkStateOf(status, false) }),
      );
      return [...buried, ...signalled];
    },

    async getFeeRate(signal) {
      const { feeRateSatPerKvb, targetBlocks } = await parts.mempool.estimateFee(WATCHED_FEE_TARGET, signal);
      if (feeRateSatPerKvb !== undefined) return { satPerKvb: feeRateSatPerKvb, targetBlocks };
      const { relayfee } = await rpc.call('getinfo', [], relayFee, { signal });
      return { satPerKvb: relayfee, targetBlocks: undefined };
    },

    async getNewTip(block, signal) {
      const summary = await getChainSummary(rpc, signal);
      // The median time belongs to the tip alone; with another tip the next look tells that one.
      if (summary.mediantime === undefined || !equalBytes(summary.bestblockhash, block.hash)) return undefined;
      const height = block.height + 1;
      const ruled = bitsAfter(block.header, height, parts.network());
      const bits = ruled ?? (await parts.mining.getTemplate([], signal)).bits;
      return {
        previousHash: block.hash,
        height,
        bits,
        minTimeUnixS: summary.mediantime + 1,
        coinbaseValueSats: subsidyAt(height, halvingInterval(parts.network())),
      };
    },

    getTemplate: (rules, signal) => parts.mining.getTemplate(rules, signal),
  };
}
