import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { hashToDisplay } from '../../core/bytes.js';
import { hashText, hexText } from '../jsonrpc/answers.js';
import {
  explainBlock,
  getChainSummary,
  getHashes,
  getHeaders,
  getRawBlock,
  getRawHeader,
  getVerboseHeader,
  headerAt,
  syncStateOf,
} from '../jsonrpc/chain-calls.js';
import { createHeightCache } from '../jsonrpc/height-cache.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import { RPC, type RpcFailure } from '../jsonrpc/rpc-failure.js';
import type { ChainApi, SyncState, TransactionAt } from '../node-api.js';
import type { RestBlocks } from './rest.js';

const foundTransaction = z.object({ hex: hexText, blockhash: hashText.optional() });

/** When to ask again for a transaction while the index is being built. */
const INDEXING_RETRY_MS = 30_000;

/** Chain of Bitcoin Core. `heightOf` of the answer serves the other groups. */
export function createBitcoindChain(
  rpc: RpcClient,
  rest: RestBlocks,
): ChainApi & { heightOf(hash: Uint8Array, signal: AbortSignal): Promise<number> } {
  const heights = createHeightCache();
  const heightOf = (hash: Uint8Array, signal: AbortSignal): Promise<number> =>
    heights.get(hash, async () => (await getVerboseHeader(rpc, hash, signal)).height);

  return {
    heightOf,

    async getState(signal) {
      const summary = await getChainSummary(rpc, signal);
      const { bestblockhash: hash, blocks: height, difficulty, mediantime = 0, chainwork } = summary;
      heights.set(hash, height);
      const header = await getRawHeader(rpc, hash, signal);
      return {
        tip: { hash, height },
        header,
        medianTimeUnixS: mediantime,
        chainWork: chainwork ?? new Uint8Array(32),
        difficulty,
      };
    },

    getSync: async (signal) => (await getSyncAndTip(rpc, signal)).sync,

    async getHash(height, signal) {
      const [hash] = await getHashes(rpc, [height], signal);
      if (hash === undefined) throw new HostError('NO_CHAIN_HEIGHT', `height ${height} lies above the tip`);
      return hash;
    },

    async getBlock(hash, signal) {
      const height = await heightOf(hash, signal);
      const raw = (await rest.getBlock(hash, signal)) ?? (await getRawBlock(rpc, hash, signal));
      return { hash, height, raw };
    },

    getHeader: async (hash, signal) => headerAt(await getVerboseHeader(rpc, hash, signal)),

    getHeaders: (fromHeight, count, signal) => getHeaders(rpc, fromHeight, count, signal),

    async getTransaction(txid, blockHash, signal): Promise<TransactionAt> {
      const id = hashToDisplay(txid);
      if (blockHash !== undefined) {
        const height = await heightOf(blockHash, signal);
        const params = [id, false, hashToDisplay(blockHash)];
        const raw = await rpc.call('getrawtransaction', params, hexText, { signal, explain: explainTransaction });
        return { raw, block: { hash: blockHash, height } };
      }
      const found = await rpc.call('getrawtransaction', [id, true], foundTransaction, {
        signal,
        explain: explainTransaction,
      });
      if (found.blockhash === undefined) return { raw: found.hex };
      return { raw: found.hex, block: { hash: found.blockhash, height: await heightOf(found.blockhash, signal) } };
    },
  };
}

/** Progress and tip in one answer, so that they belong together. */
export async function getSyncAndTip(
  rpc: RpcClient,
  signal: AbortSignal,
): Promise<{ sync: SyncState; tip: { hash: Uint8Array; height: number } }> {
  const summary = await getChainSummary(rpc, signal);
  const { blocks, headers, initialblockdownload = false, verificationprogress = 1 } = summary;
  return {
    sync: syncStateOf(blocks, headers, initialblockdownload, verificationprogress),
    tip: { hash: summary.bestblockhash, height: blocks },
  };
}

/** Tells the failures of `getrawtransaction`. Bitcoin Core, rpc/rawtransaction.cpp. */
function explainTransaction(failure: RpcFailure): HostError | undefined {
  const { code, message } = failure;
  if (code === RPC.MISC && message.includes('not available')) {
    return new HostError('BLOCK_PRUNED', 'the node is pruned and has deleted the body of this block');
  }
  if (code !== RPC.NOT_FOUND) return explainBlock(failure);
  if (message.includes('Block hash not found')) return explainBlock(failure);
  if (message.includes('-txindex')) {
    return new HostError('TXINDEX_REQUIRED', 'not in the mempool, and the node has no transaction index (txindex=1)');
  }
  if (message.includes('being indexed')) {
    return new HostError('NODE_SYNCING', 'the node is still building its transaction index', {
      retryAfterMs: INDEXING_RETRY_MS,
    });
  }
  return new HostError('TRANSACTION_NOT_FOUND', 'the node knows no such transaction');
}
