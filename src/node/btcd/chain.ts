import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { iterateBlockTransactions } from '../../core/bitcoin/block.js';
import { previousHashOf } from '../../core/bitcoin/header.js';
import { txid as txidOf } from '../../core/bitcoin/transaction.js';
import { equalBytes, hashToDisplay } from '../../core/bytes.js';
import type { Clock } from '../../core/clock.js';
import { hashText, hexText } from '../jsonrpc/answers.js';
import {
  getChainSummary,
  getHashes,
  getHeaders,
  getRawBlock,
  getRawHeader,
  getVerboseHeader,
  headerAt,
} from '../jsonrpc/chain-calls.js';
import { createHeightCache } from '../jsonrpc/height-cache.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import { RPC, type RpcFailure } from '../jsonrpc/rpc-failure.js';
import type { ChainApi, HeaderAt, TransactionAt } from '../node-api.js';
import type { ChainWork } from './chain-work.js';
import { getBtcdSync } from './sync.js';

/** Steps back from a stale block to the active chain before its height is given up. */
const MAX_STALE_STEPS = 2_016;

/** An empty `blockhash` marks a mempool transaction. */
const foundTransaction = z.object({ hex: hexText, blockhash: z.union([hashText, z.literal('')]).optional() });

/** Chain of btcd, which answers verbose questions for the active chain alone. */
export function createBtcdChain(
  rpc: RpcClient,
  work: ChainWork,
  clock: Pick<Clock, 'unixMs'>,
): ChainApi & { heightOf(hash: Uint8Array, signal: AbortSignal): Promise<number> } {
  const heights = createHeightCache();

  const getHeader = async (hash: Uint8Array, signal: AbortSignal): Promise<HeaderAt> => {
    try {
      return headerAt(await getVerboseHeader(rpc, hash, signal));
    } catch (error) {
      // Known, but on a stale branch: btcd cannot say where, its header can.
      if (HostError.from(error).reason !== 'NODE_ERROR') throw error;
      const header = await getRawHeader(rpc, hash, signal);
      return { hash, height: await staleHeight(header, signal), header, confirmations: 0, txCount: 0 };
    }
  };

  const staleHeight = async (header: Uint8Array, signal: AbortSignal): Promise<number> => {
    let parent = previousHashOf(header);
    for (let steps = 1; steps <= MAX_STALE_STEPS; steps++) {
      try {
        return (await getVerboseHeader(rpc, parent, signal)).height + steps;
      } catch (error) {
        if (HostError.from(error).reason !== 'NODE_ERROR') throw error;
        parent = previousHashOf(await getRawHeader(rpc, parent, signal));
      }
    }
    throw new HostError('NODE_ERROR', 'the node does not tell the height of this stale block');
  };

  const heightOf = (hash: Uint8Array, signal: AbortSignal): Promise<number> =>
    heights.get(hash, async () => (await getHeader(hash, signal)).height);

  const getBlock = async (hash: Uint8Array, signal: AbortSignal): Promise<Uint8Array> => {
    try {
      return await getRawBlock(rpc, hash, signal);
    } catch (error) {
      if (HostError.from(error).reason !== 'BLOCK_NOT_FOUND') throw error;
      // A pruned btcd says the same of a body that it deleted; the header tells the two apart.
      await getRawHeader(rpc, hash, signal);
      if ((await getChainSummary(rpc, signal)).pruned !== true) throw error;
      throw new HostError('BLOCK_PRUNED', 'the node is pruned and has deleted the body of this block');
    }
  };

  return {
    heightOf,
    getHeader,

    async getState(signal) {
      const summary = await getChainSummary(rpc, signal);
      const { bestblockhash: hash, blocks: height, difficulty, mediantime = 0 } = summary;
      heights.set(hash, height);
      const header = await getRawHeader(rpc, hash, signal);
      const chainWork = await work.upTo(height, signal);
      return { tip: { hash, height }, header, medianTimeUnixS: mediantime, chainWork, difficulty };
    },

    getSync: async (signal) => (await getBtcdSync(rpc, clock, signal)).sync,

    async getHash(height, signal) {
      const [hash] = await getHashes(rpc, [height], signal);
      if (hash === undefined) throw new HostError('NO_CHAIN_HEIGHT', `height ${height} lies above the tip`);
      return hash;
    },

    async getBlock(hash, signal) {
      const raw = await getBlock(hash, signal);
      return { hash, height: await heightOf(hash, signal), raw };
    },

    getHeaders: (fromHeight, count, signal) => getHeaders(rpc, fromHeight, count, signal),

    async getTransaction(txid, blockHash, signal): Promise<TransactionAt> {
      if (blockHash !== undefined) {
        // btcd cannot be asked for a transaction of a given block: the block is read and searched.
        const raw = await getBlock(blockHash, signal);
        for (const item of iterateBlockTransactions(raw)) {
          if (!equalBytes(txidOf(item.transaction), txid)) continue;
          return { raw: item.raw.slice(), block: { hash: blockHash, height: await heightOf(blockHash, signal) } };
        }
        throw new HostError('TRANSACTION_NOT_FOUND', 'the block does not hold this transaction');
      }
      const params = [hashToDisplay(txid), 1];
      const found = await rpc.call('getrawtransaction', params, foundTransaction, {
        signal,
        explain: explainTransaction,
      });
      const { hex, blockhash } = found;
      if (blockhash === undefined || blockhash === '') return { raw: hex };
      return { raw: hex, block: { hash: blockhash, height: await heightOf(blockhash, signal) } };
    },
  };
}

/** Tells the failures of btcd's `getrawtransaction`. btcd, rpcserver.go handleGetRawTransaction */
function explainTransaction({ code, message }: RpcFailure): HostError | undefined {
  if (code !== RPC.NOT_FOUND) return undefined;
  if (message.includes('txindex')) {
    return new HostError('TXINDEX_REQUIRED', 'not in the mempool, and the node has no transaction index (txindex=1)');
  }
  return new HostError('TRANSACTION_NOT_FOUND', 'the node knows no such transaction');
}
