import { HostError, throwIfAborted } from '../../src/contract/error.js';
import type { CallContext } from '../../src/contract/service.js';
import { measureBlock, serializeBlock } from '../../src/core/bitcoin/block.js';
import { blockHash, serializeHeader } from '../../src/core/bitcoin/header.js';
import { merkleRoot } from '../../src/core/bitcoin/merkle.js';
import { serializeTransaction, type Transaction, txid } from '../../src/core/bitcoin/transaction.js';
import { toHex } from '../../src/core/bytes.js';
import type { ChainApi, ChainState, NodeApi, TransactionAt } from '../../src/node/node-api.js';

/**
 * A double of a node for tests of the services: blocks of the real format without proof of work, mined on demand.
 * It is no adapter and checks no rule of consensus.
 */
export interface NodeDouble {
  node: NodeApi;
  /** Appends a block with these transactions to the tip; gives its bytes. */
  mine(transactions?: Transaction[]): Uint8Array;
  /** Takes the top blocks off the active chain; they stay known. */
  disconnect(count: number): void;
  /** Names of the calls made, in order. */
  calls: string[];
  /** Runs before each call of the chain, under its name. */
  before: (call: string) => void | Promise<void>;
  hash(height: number): Uint8Array;
}

interface Known {
  raw: Uint8Array;
  hash: Uint8Array;
  height: number;
  transactions: Transaction[];
}

/** @param groups what the node has besides the chain */
export function createNodeDouble(groups: Partial<NodeApi> = {}): NodeDouble {
  const active: Known[] = [];
  const known = new Map<string, Known>();
  const calls: string[] = [];
  let serial = 0;

  const tip = (): Known => active.at(-1) as Known;
  const at = (height: number): Known => {
    const block = active[height];
    if (block === undefined) throw new HostError('NO_CHAIN_HEIGHT', `no height ${height}`);
    return block;
  };
  const find = (hash: Uint8Array): Known => {
    const block = known.get(toHex(hash));
    if (block === undefined) throw new HostError('BLOCK_NOT_FOUND', 'unknown');
    return block;
  };
  const headerAt = (block: Known) => ({
    hash: block.hash,
    height: block.height,
    header: block.raw.subarray(0, 80),
    confirmations: active[block.height] === block ? active.length - block.height : 0,
    txCount: block.transactions.length,
  });
  const enter = async (call: string, signal: AbortSignal): Promise<void> => {
    calls.push(call);
    await double.before(call);
    throwIfAborted(signal);
  };
  const chain: ChainApi = {
    async getState(signal): Promise<ChainState> {
      await enter('getState', signal);
      const { hash, height, raw } = tip();
      const header = raw.subarray(0, 80);
      return {
        tip: { hash, height },
        header,
        medianTimeUnixS: 1_700_000_000,
        chainWork: new Uint8Array(32).fill(1),
        difficulty: 1,
      };
    },
    async getSync(signal) {
      await enter('getSync', signal);
      return { phase: 'synced', progress: 1, blocks: tip().height, headers: tip().height, initialBlockDownload: false };
    },
    async getHash(height, signal) {
      await enter('getHash', signal);
      return at(height).hash;
    },
    async getBlock(hash, signal) {
      await enter('getBlock', signal);
      const block = find(hash);
      return { hash: block.hash, height: block.height, raw: block.raw };
    },
    async getHeader(hash, signal) {
      await enter('getHeader', signal);
      return headerAt(find(hash));
    },
    async getHeaders(fromHeight, count, signal) {
      await enter('getHeaders', signal);
      at(fromHeight);
      return active.slice(fromHeight, fromHeight + count).map(headerAt);
    },
    async getTransaction(id, hash, signal): Promise<TransactionAt> {
      await enter('getTransaction', signal);
      const blocks = hash === undefined ? active : [find(hash)];
      for (const block of blocks) {
        const transaction = block.transactions.find((candidate) => toHex(txid(candidate)) === toHex(id));
        if (transaction === undefined) continue;
        const raw = serializeTransaction(transaction, { witness: true });
        return { raw, block: { hash: block.hash, height: block.height } };
      }
      throw new HostError('TRANSACTION_NOT_FOUND', 'unknown');
    },
  };
  const double: NodeDouble = {
    calls,
    before: () => {},
    hash: (height) => at(height).hash,
    node: {
      start: async () => {},
      stop: async () => {},
      getInfo: async () => ({
        kind: 'double',
        version: '',
        network: 'regtest',
        simulated: true,
        pruned: false,
        pruneHeight: 0,
        initialBlockDownload: false,
        indexes: [],
        features: [],
      }),
      chain,
      ...groups,
    },
    mine(transactions = []) {
      serial += 1;
      const height = active.length;
      const all = [spend({ index: 0xffff_ffff, script: Uint8Array.of(serial & 255, serial >> 8, 1) }), ...transactions];
      const header = serializeHeader({
        version: 4,
        previousHash: active.at(-1)?.hash ?? new Uint8Array(32),
        merkleRoot: merkleRoot(all.map(txid)),
        timeUnixS: 1_700_000_000 + serial,
        bits: 0x207fffff,
        nonce: serial,
      });
      const raw = serializeBlock(header, all);
      const block: Known = { raw, hash: blockHash(header), height, transactions: all };
      if (measureBlock(raw).txCount !== all.length) throw new Error('the double made a bad block');
      active.push(block);
      known.set(toHex(block.hash), block);
      return raw;
    },
    disconnect(count) {
      active.length -= count;
    },
  };
  double.mine();
  return double;
}

/** A transaction with one input and one output, told apart by its script. */
export function spend(options: {
  index?: number;
  script?: Uint8Array;
  witness?: Uint8Array[];
  txid?: Uint8Array;
}): Transaction {
  return {
    version: 2,
    inputs: [
      {
        outpoint: { txid: options.txid ?? new Uint8Array(32), index: options.index ?? 0 },
        scriptSig: options.script ?? new Uint8Array(0),
        sequence: 0xffff_ffff,
        witness: options.witness ?? [],
      },
    ],
    outputs: [{ valueSats: 1_000n, scriptPubkey: Uint8Array.of(0x51) }],
    lockTime: 0,
  };
}

/** What a handler is told of its call. */
export function callContext(signal: AbortSignal = new AbortController().signal): CallContext {
  return { method: '/modhost.v1.Test/Call', signal, timeLeftMs: () => 10_000 };
}

/** Reason that a call fails with; a call that succeeds, or fails otherwise, fails the test. */
export async function reasonOf(call: () => unknown): Promise<string> {
  try {
    const answer = await call();
    if (answer !== null && typeof answer === 'object' && Symbol.asyncIterator in answer) {
      for await (const _ of answer as AsyncIterable<unknown>);
    }
  } catch (error) {
    if (error instanceof HostError) return error.reason;
    throw error;
  }
  return 'none';
}

/** All messages of a server stream. */
export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of stream) all.push(message);
  return all;
}
