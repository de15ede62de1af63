import type { Transaction } from '../../gen/ts/modhost/v1/bitcoin.js';
import type {
  ChainServiceService,
  FoundTransaction,
  TransactionQuery,
  TransactionResult,
} from '../../gen/ts/modhost/v1/chain.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { HostError, throwIfAborted } from '../contract/error.js';
import type { ServiceImpl } from '../contract/service.js';
import { blockTransactionCount, iterateBlockOutlines } from '../core/bitcoin/block.js';
import type { NodeApi } from '../node/node-api.js';
import { optionalHash, requireHash, requireList, requireMessage } from './check.js';
import { fromNode, MAX_BATCH_BYTES, MAX_WITNESS_ITEMS, toBody, toTransaction, transactionFormat } from './decoded.js';
import { fetchAhead } from './fetch-ahead.js';

/** Transactions of one batch: each may cost the node a search on disk. */
export const MAX_QUERIES = 100;

/** Searches of one batch under way at the same time; the node's budget for the module still bounds what reaches it. */
const QUERIES_AHEAD = 4;

type TransactionReads = Pick<
  ServiceImpl<typeof ChainServiceService>,
  'getTransaction' | 'getTransactions' | 'hasTransaction' | 'listBlockTransactions'
>;

interface Query {
  txid: Uint8Array;
  blockHash: Uint8Array | undefined;
}

/** The part of the chain service that reads transactions. */
export function createTransactionReads(node: NodeApi): TransactionReads {
  const find = async (
    query: Query,
    format: ReturnType<typeof transactionFormat>,
    signal: AbortSignal,
  ): Promise<{ found: FoundTransaction; sizeBytes: number }> => {
    const at = await node.chain.getTransaction(query.txid, query.blockHash, signal);
    const { body, sizeBytes } = toBody(at.raw, format);
    return { found: { body, block: at.block }, sizeBytes };
  };

  return {
    async getTransaction({ query, format }, { signal }) {
      const { found } = await find(readQuery(query), transactionFormat(format), signal);
      return { transaction: found };
    },
    async getTransactions({ queries, format }, { signal }) {
      const wanted = requireList(queries, MAX_QUERIES, 'queries').map((query) => readQuery(query));
      const form = transactionFormat(format);
      const outcomes = fetchAhead(wanted, QUERIES_AHEAD, signal, async (query, inner) => {
        try {
          const { found, sizeBytes } = await find(query, form, inner);
          return { result: { outcome: { $case: 'found', value: found } } satisfies TransactionResult, sizeBytes };
        } catch (error) {
          return {
            result: { outcome: { $case: 'reason', value: ownReason(error) } } satisfies TransactionResult,
            sizeBytes: 4,
          };
        }
      });
      const results: TransactionResult[] = [];
      let size = 0;
      for await (const { result, sizeBytes } of outcomes) {
        size += sizeBytes;
        if (results.length > 0 && size > MAX_BATCH_BYTES) break;
        results.push(result);
      }
      return { results };
    },
    async hasTransaction({ query }, { signal }) {
      const { txid, blockHash } = readQuery(query);
      try {
        await node.chain.getTransaction(txid, blockHash, signal);
        return { found: true };
      } catch (error) {
        if (error instanceof HostError && error.reason === 'TRANSACTION_NOT_FOUND') return { found: false };
        throw error;
      }
    },
    async *listBlockTransactions({ hash, startIndex }, { signal }) {
      const block = await node.chain.getBlock(requireHash(hash, 'hash'), signal);
      const txCount = fromNode('block', () => blockTransactionCount(block.raw));
      if (startIndex >= txCount) {
        throw new HostError('OUT_OF_RANGE', `start_index is ${startIndex}; the block has ${txCount} transactions`);
      }
      let firstIndex = startIndex;
      for (const transactions of inBatches(block.raw, startIndex)) {
        throwIfAborted(signal);
        yield { height: block.height, txCount, firstIndex, transactions };
        firstIndex += transactions.length;
      }
    },
  };
}

function readQuery(query: TransactionQuery | undefined): Query {
  const { txid, blockHash } = requireMessage(query, 'query');
  return { txid: requireHash(txid, 'txid'), blockHash: optionalHash(blockHash, 'block_hash') };
}

/** Number of a reason that belongs to one query alone; anything else ends the batch. */
function ownReason(error: unknown): ErrorReason {
  if (error instanceof HostError) {
    switch (error.reason) {
      case 'TRANSACTION_NOT_FOUND':
      case 'BLOCK_NOT_FOUND':
      case 'BLOCK_PRUNED':
      case 'TXINDEX_REQUIRED':
        return ErrorReason[error.reason];
    }
  }
  throw error;
}

function* inBatches(raw: Uint8Array, startIndex: number): Generator<Transaction[], void> {
  const outlines = iterateBlockOutlines(raw);
  let batch: Transaction[] = [];
  let size = 0;
  let items = 0;
  for (let index = 0; ; index++) {
    const next = fromNode('block', () => outlines.next());
    if (next.done === true) break;
    if (index < startIndex) continue;
    const { transaction, sizeBytes } = toTransaction(next.value);
    const more = transaction.witnessOmitted ? 0 : next.value.witnessItems;
    if (batch.length > 0 && (size + sizeBytes > MAX_BATCH_BYTES || items + more > MAX_WITNESS_ITEMS)) {
      yield batch;
      batch = [];
      size = 0;
      items = 0;
    }
    batch.push(transaction);
    size += sizeBytes;
    items += more;
  }
  if (batch.length > 0) yield batch;
}
