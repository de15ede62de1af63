import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { count, feeRate, hashText } from '../jsonrpc/answers.js';
import { getFollowedBlock, getHashes, getHeaders, getRawHeader, getVerboseHeader } from '../jsonrpc/chain-calls.js';
import { type Deployment, forkStateOf } from '../jsonrpc/fork-watch.js';
import { mempoolSummary, mempoolTxidsWithSequence } from '../jsonrpc/mempool-answers.js';
import { bitsAfter } from '../jsonrpc/next-bits.js';
import type { WatchedNode } from '../jsonrpc/node-watch.js';
import { type RpcClient, resultOf } from '../jsonrpc/rpc-client.js';
import { isMissingCall } from '../jsonrpc/rpc-failure.js';
import { halvingInterval, subsidyAt } from '../jsonrpc/template-answer.js';
import type { ChainApi, MempoolApi, MiningApi, NetworkApi, NetworkName } from '../node-api.js';
import { getSyncAndTip } from './chain.js';

/** Target of the estimate whose changes are told: six blocks, an hour. */
const WATCHED_FEE_TARGET = 6;

const deployments = z.object({
  deployments: z.record(
    z.string(),
    z.object({ active: z.boolean(), bip9: z.object({ status: z.string() }).optional() }),
  ),
});

const bans = z.array(
  z.object({ address: z.string(), ban_duration: count.optional(), ban_created: count.optional(), banned_until: count }),
);

const estimate = z.object({ feerate: feeRate.optional(), blocks: count.optional() });

const miningSummary = z.object({
  next: z.object({ height: count, bits: z.string().regex(/^[0-9a-fA-F]{1,8}$/) }).optional(),
});

/** Parts of the adapter that the watch looks through. */
export interface WatchedParts {
  rpc: RpcClient;
  chain: ChainApi;
  mempool: MempoolApi;
  mining: MiningApi;
  peers: NetworkApi;
  network: () => NetworkName;
  reconnected: () => void;
}

/** Bitcoin Core as the watch sees it. */
export function createWatchedBitcoind(parts: WatchedParts): WatchedNode {
  const { rpc } = parts;
  return {
    chain: {
      getSync: (signal) => getSyncAndTip(rpc, signal),
      getHashes: (heights, signal) => getHashes(rpc, heights, signal),
      getBlock: (hash, signal) => getFollowedBlock(rpc, hash, signal),
      getHeader: (hash, signal) => getRawHeader(rpc, hash, signal),
      getHeaders: (fromHeight, count, signal) => getHeaders(rpc, fromHeight, count, signal),
      getBestHash: (signal) => rpc.call('getbestblockhash', [], hashText, { signal }),
    },

    mempool: {
      getCount: async (signal) => (await parts.mempool.getSize(signal)).transactionCount,
      async listTxids(signal) {
        const answer = await rpc.call('getrawmempool', [false, true], mempoolTxidsWithSequence, {
          signal,
          plainNumbers: true,
        });
        return { txids: answer.txids, mark: answer.mempool_sequence };
      },
    },

    getPeers: (signal) => parts.peers.getPeers(signal),

    async getBans(signal) {
      const listed = await rpc.call('listbanned', [], bans, { signal });
      return listed.map((ban) => ({
        address: ban.address,
        durationMs: (ban.ban_duration ?? ban.banned_until - (ban.ban_created ?? ban.banned_until)) * 1_000,
      }));
    },

    async getDeployments(signal) {
      const answer = await rpc.call('getdeploymentinfo', [], deployments, { signal });
      return Object.entries(answer.deployments).map(
        ([name, { active, bip9 }]): Deployment => ({ name, state: forkStateOf(bip9?.status, active) }),
      );
    },

    async getFeeRate(signal) {
      const calls = [
        { method: 'estimatesmartfee', params: [WATCHED_FEE_TARGET] },
        { method: 'getmempoolinfo', params: [] },
      ];
      const [estimated, summary] = await rpc.batch(calls, { signal });
      const { feerate, blocks } = resultOf('estimatesmartfee', estimated, estimate);
      // Core answers for a longer target when it has none for this one, and says so
      if (feerate !== undefined) return { satPerKvb: feerate, targetBlocks: blocks ?? WATCHED_FEE_TARGET };
      const minimum = resultOf('getmempoolinfo', summary, mempoolSummary).mempoolminfee ?? 0n;
      return { satPerKvb: minimum, targetBlocks: undefined };
    },

    async getNewTip(block, signal) {
      const { mediantime } = await getVerboseHeader(rpc, block.hash, signal);
      if (mediantime === undefined) return undefined;
      const height = block.height + 1;
      return {
        previousHash: block.hash,
        height,
        bits: await nextBits(height, block.header, signal),
        minTimeUnixS: mediantime + 1,
        coinbaseValueSats: subsidyAt(height, halvingInterval(parts.network())),
      };
    },

    getTemplate: (rules, signal) => parts.mining.getTemplate(rules, signal),
    reconnected: parts.reconnected,
  };

  /** From the node where it tells (29.0 on), else by the rule, else from a template. */
  async function nextBits(height: number, header: Uint8Array, signal: AbortSignal): Promise<number> {
    try {
      const { next } = await rpc.call('getmininginfo', [], miningSummary, { signal });
      if (next?.height === height) return Number.parseInt(next.bits, 16);
    } catch (error) {
      if (!isMissingCall(error)) throw error;
    }
    const ruled = bitsAfter(header, height, parts.network());
    if (ruled !== undefined) return ruled;
    const template = await parts.mining.getTemplate([], signal);
    if (template.height !== height)
      throw new HostError('TIP_MOVED', 'the tip moved while the next target was asked for');
    return template.bits;
  }
}
