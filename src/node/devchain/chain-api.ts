import { HostError, throwIfAborted } from '../../contract/error.js';
import { iterateBlockTransactions } from '../../core/bitcoin/block.js';
import { difficultyFromBits, uint256ToBytes } from '../../core/bitcoin/target.js';
import { txid } from '../../core/bitcoin/transaction.js';
import { toHex } from '../../core/bytes.js';
import type { BlockAt, ChainApi, HeaderAt, SyncState, TransactionAt, UtxoApi } from '../node-api.js';
import type { BlockNode } from './block-tree.js';
import type { Chainstate } from './chainstate.js';
import { outpointKey } from './known-transaction.js';
import type { Mempool } from './mempool.js';

/** Opened parts, or NODE_UNAVAILABLE before the start and after the stop. */
export type Opened = () => { chain: Chainstate; mempool: Mempool };

/** Reads of the devchain's blocks and transactions; stale branches are kept and readable. */
export function createChainApi(opened: Opened): ChainApi {
  return {
    async getState(signal) {
      throwIfAborted(signal);
      const { tip } = opened().chain.tree;
      return {
        tip: { hash: tip.hash, height: tip.height },
        header: tip.headerBytes,
        medianTimeUnixS: tip.medianTimeUnixS,
        chainWork: uint256ToBytes(tip.chainWork),
        difficulty: difficultyFromBits(tip.header.bits),
      };
    },
    async getSync(signal): Promise<SyncState> {
      throwIfAborted(signal);
      const { height } = opened().chain.tree.tip;
      return { phase: 'synced', progress: 1, blocks: height, headers: height, initialBlockDownload: false };
    },
    async getHash(height, signal) {
      throwIfAborted(signal);
      return activeAt(opened().chain, height).hash;
    },
    async getBlock(hash, signal): Promise<BlockAt> {
      throwIfAborted(signal);
      const { chain } = opened();
      const node = known(chain, hash);
      const raw = await chain.readBlock(node);
      throwIfAborted(signal);
      return { hash: node.hash, height: node.height, raw };
    },
    async getHeader(hash, signal) {
      throwIfAborted(signal);
      const { chain } = opened();
      return headerAt(chain, known(chain, hash));
    },
    async getHeaders(fromHeight, count, signal) {
      throwIfAborted(signal);
      const { chain } = opened();
      activeAt(chain, fromHeight);
      const last = Math.min(chain.tree.tip.height, fromHeight + count - 1);
      const headers: HeaderAt[] = [];
      for (let height = fromHeight; height <= last; height++) headers.push(headerAt(chain, activeAt(chain, height)));
      return headers;
    },
    async getTransaction(id, blockHash, signal): Promise<TransactionAt> {
      throwIfAborted(signal);
      const { chain, mempool } = opened();
      const key = toHex(id);
      if (blockHash !== undefined) {
        const node = known(chain, blockHash);
        const index = await indexWithin(chain, node, key);
        throwIfAborted(signal);
        return { raw: await transactionOf(chain, node, index), block: { hash: node.hash, height: node.height } };
      }
      const unconfirmed = mempool.pool.entries.get(key);
      if (unconfirmed !== undefined) return { raw: unconfirmed.known.raw };
      const place = chain.locate(key);
      const raw = await transactionOf(chain, place?.node, place?.index ?? -1);
      throwIfAborted(signal);
      return { raw, block: place && { hash: place.node.hash, height: place.node.height } };
    },
  };
}

/** Reads of the devchain's unspent outputs. */
export function createUtxoApi(opened: Opened): UtxoApi {
  return {
    async getUtxo(outpoint, includeMempool, signal) {
      throwIfAborted(signal);
      const { chain, mempool } = opened();
      const key = outpointKey(toHex(outpoint.txid), outpoint.index);
      const confirmed = chain.coins.get(key);
      const coin = includeMempool ? mempool.pool.view(chain.coins, 0).get(key) : confirmed;
      if (coin === undefined) return undefined;
      return {
        outpoint: { txid: outpoint.txid, index: outpoint.index },
        valueSats: coin.valueSats,
        scriptPubkey: coin.scriptPubkey,
        height: confirmed?.height,
        coinbase: coin.coinbase,
      };
    },
  };
}

function known(chain: Chainstate, hash: Uint8Array): BlockNode {
  const node = chain.tree.get(hash);
  if (node === undefined) throw new HostError('BLOCK_NOT_FOUND', 'the devchain knows no block with this hash');
  return node;
}

function activeAt(chain: Chainstate, height: number): BlockNode {
  const node = chain.tree.at(height);
  if (node === undefined) {
    throw new HostError('NO_CHAIN_HEIGHT', `the chain has no height ${height}; its tip is at ${chain.tree.tip.height}`);
  }
  return node;
}

function headerAt(chain: Chainstate, node: BlockNode): HeaderAt {
  const { tree } = chain;
  return {
    hash: node.hash,
    height: node.height,
    header: node.headerBytes,
    confirmations: tree.isActive(node) ? tree.tip.height - node.height + 1 : 0,
    txCount: node.txCount,
  };
}

async function indexWithin(chain: Chainstate, node: BlockNode, key: string): Promise<number> {
  const place = chain.locate(key);
  if (place?.node === node) return place.index;
  for (const item of iterateBlockTransactions(await chain.readBlock(node))) {
    if (toHex(txid(item.transaction)) === key) return item.index;
  }
  return -1;
}

async function transactionOf(chain: Chainstate, node: BlockNode | undefined, index: number): Promise<Uint8Array> {
  if (node !== undefined) {
    for (const item of iterateBlockTransactions(await chain.readBlock(node))) {
      if (item.index === index) return Uint8Array.from(item.raw);
    }
  }
  throw new HostError('TRANSACTION_NOT_FOUND', 'the devchain knows no such transaction in its mempool or chain');
}
