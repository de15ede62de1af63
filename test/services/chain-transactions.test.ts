import { describe, expect, it } from 'vitest';
import type { Transaction as TransactionMessage } from '../../gen/ts/modhost/v1/bitcoin.js';
import {
  GetTransactionsRequest,
  HasTransactionRequest,
  ListBlockTransactionsRequest,
  ListBlockTransactionsResponse,
} from '../../gen/ts/modhost/v1/chain.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { HostError } from '../../src/contract/error.js';
import { txid, wtxid } from '../../src/core/bitcoin/transaction.js';
import { toHex } from '../../src/core/bytes.js';
import { createChainService } from '../../src/services/chain.js';
import { callContext, collect, createNodeDouble, reasonOf, spend } from './node-double.js';

const UNKNOWN = new Uint8Array(32).fill(7);

function rig(blocks = 4) {
  const double = createNodeDouble();
  for (let i = 1; i < blocks; i++) double.mine();
  return { double, chain: createChainService({ node: double.node }), context: callContext() };
}

describe('transactions', () => {
  const payments = [1, 2, 3].map((mark) =>
    spend({ script: Uint8Array.of(mark), witness: [Uint8Array.of(mark, mark)] }),
  );
  function withPayments() {
    const rigged = rig();
    rigged.double.mine(payments);
    return { ...rigged, ids: payments.map(txid) as [Uint8Array, Uint8Array, Uint8Array], hash: rigged.double.hash(4) };
  }

  it('lists a block decoded, with ids, witness and place', async () => {
    const { chain, context, hash } = withPayments();
    const request = ListBlockTransactionsRequest.fromPartial({ hash, startIndex: 1 });
    const [message, ...rest] = (await collect(
      chain.listBlockTransactions(request, context),
    )) as ListBlockTransactionsResponse[];
    expect(rest).toEqual([]);
    expect(message).toMatchObject({ height: 4, txCount: 4, firstIndex: 1 });
    expect(message?.transactions.map((transaction) => toHex(transaction.txid))).toEqual(
      payments.map((p) => toHex(txid(p))),
    );
    expect(message?.transactions.map((transaction) => toHex(transaction.wtxid))).toEqual(
      payments.map((p) => toHex(wtxid(p))),
    );
    expect(message?.transactions[0]?.inputs[0]?.witness).toEqual([Uint8Array.of(1, 1)]);
    expect(message?.transactions[0]?.outputs[0]?.valueSats).toBe(1_000n);
  });

  it('refuses to start behind the last transaction', async () => {
    const { chain, context, hash } = withPayments();
    const request = ListBlockTransactionsRequest.fromPartial({ hash, startIndex: 4 });
    expect(await reasonOf(() => chain.listBlockTransactions(request, context))).toBe('OUT_OF_RANGE');
  });

  it('keeps messages at or under 1 MiB unless one transaction is larger, and loses none', async () => {
    const { double, chain, context } = rig();
    const sizes = [300_000, 300_000, 300_000, 300_000, 1_500_000, 10, 10];
    double.mine(sizes.map((size, i) => spend({ script: Uint8Array.of(i), witness: [new Uint8Array(size)] })));
    const request = ListBlockTransactionsRequest.fromPartial({ hash: double.hash(4) });
    const messages = (await collect(chain.listBlockTransactions(request, context))) as ListBlockTransactionsResponse[];
    expect(messages.map((message) => [message.firstIndex, message.transactions.length])).toEqual([
      [0, 4],
      [4, 1],
      [5, 1],
      [6, 2],
    ]);
    for (const message of messages) {
      const size = ListBlockTransactionsResponse.encode(message).finish().byteLength;
      if (message.transactions.length > 1) expect(size).toBeLessThanOrEqual(1024 * 1024);
    }
  });

  it.each([
    [100_000, false],
    [100_001, true],
  ])('with %i witness items, leaves witnesses out: %s', async (count, omitted) => {
    const { double, chain, context } = rig();
    const tiny = spend({ witness: Array.from({ length: count }, () => new Uint8Array(0)) });
    double.mine([tiny]);
    const request = ListBlockTransactionsRequest.fromPartial({ hash: double.hash(4), startIndex: 1 });
    const [message] = (await collect(chain.listBlockTransactions(request, context))) as ListBlockTransactionsResponse[];
    const transaction = message?.transactions[0] as TransactionMessage;
    expect(transaction.witnessOmitted).toBe(omitted);
    expect(transaction.inputs[0]?.witness.length).toBe(omitted ? 0 : count);
    expect(toHex(transaction.wtxid)).toBe(toHex(wtxid(tiny)));
    expect(toHex(transaction.txid)).toBe(toHex(txid(tiny)));
  });

  it('gives the largest transaction of few items decoded within 4 MiB', async () => {
    const { double, chain, context } = rig();
    double.mine([spend({ witness: [new Uint8Array(3_990_000)] })]);
    const request = ListBlockTransactionsRequest.fromPartial({ hash: double.hash(4), startIndex: 1 });
    const [message] = (await collect(chain.listBlockTransactions(request, context))) as ListBlockTransactionsResponse[];
    expect(message?.transactions[0]?.witnessOmitted).toBe(false);
    const size = ListBlockTransactionsResponse.encode(message as ListBlockTransactionsResponse).finish().byteLength;
    expect(size).toBeLessThanOrEqual(4 * 1024 * 1024);
  });

  it('says NODE_ERROR when the node gives a block that is none', async () => {
    const { double, chain, context } = rig();
    const { getBlock } = double.node.chain;
    double.node.chain.getBlock = async (hash, signal) => {
      const block = await getBlock(hash, signal);
      return { ...block, raw: block.raw.subarray(0, block.raw.byteLength - 1) };
    };
    const request = ListBlockTransactionsRequest.fromPartial({ hash: double.hash(1) });
    expect(await reasonOf(() => chain.listBlockTransactions(request, context))).toBe('NODE_ERROR');
  });

  it('finds one raw and decoded, and where it stands', async () => {
    const { chain, context, ids, hash } = withPayments();
    const query = { txid: ids[0], blockHash: new Uint8Array(0) };
    expect(await chain.getTransaction({ query, format: 0 }, context)).toMatchObject({
      transaction: { body: { $case: 'raw' }, block: { hash, height: 4 } },
    });
    expect(await chain.getTransaction({ query, format: 2 }, context)).toMatchObject({
      transaction: { body: { $case: 'decoded', value: { txid: ids[0], witnessOmitted: false } } },
    });
  });

  it('gives one result per query, in order', async () => {
    const { chain, context, ids } = withPayments();
    const request = GetTransactionsRequest.fromPartial({
      queries: [{ txid: ids[2] }, { txid: UNKNOWN }, { txid: ids[0], blockHash: UNKNOWN }, { txid: ids[1] }],
    });
    const { results } = (await chain.getTransactions(request, context)) as { results: { outcome: unknown }[] };
    expect(results.map((result) => result.outcome)).toMatchObject([
      { $case: 'found' },
      { $case: 'reason', value: ErrorReason.TRANSACTION_NOT_FOUND },
      { $case: 'reason', value: ErrorReason.BLOCK_NOT_FOUND },
      { $case: 'found' },
    ]);
  });

  it('answers as many queries as fit into 1 MiB, at least one', async () => {
    const { double, chain, context } = rig();
    const large = [1, 2, 3].map((mark) => spend({ script: Uint8Array.of(mark), witness: [new Uint8Array(600_000)] }));
    const huge = spend({ script: Uint8Array.of(9), witness: [new Uint8Array(2_000_000)] });
    double.mine(large);
    double.mine([huge]);
    const ask = async (wanted: typeof large) => {
      const queries = wanted.map((transaction) => ({ txid: txid(transaction) }));
      const answer = await chain.getTransactions(GetTransactionsRequest.fromPartial({ queries }), context);
      return (answer as { results: unknown[] }).results.length;
    };
    expect(await ask(large)).toBe(1);
    expect(await ask([huge, ...large])).toBe(1);
  });

  it('ends the batch when the node itself fails', async () => {
    const { double, chain, context, ids } = withPayments();
    double.before = (call) => {
      if (call === 'getTransaction') throw new HostError('NODE_UNAVAILABLE', 'gone');
    };
    const request = GetTransactionsRequest.fromPartial({ queries: ids.map((id) => ({ txid: id })) });
    expect(await reasonOf(() => chain.getTransactions(request, context))).toBe('NODE_UNAVAILABLE');
  });

  it('tells whether there is one; what the node cannot know stays an error', async () => {
    const { double, chain, context, ids } = withPayments();
    const has = (id: Uint8Array) =>
      chain.hasTransaction(HasTransactionRequest.fromPartial({ query: { txid: id } }), context);
    expect(await has(ids[0])).toEqual({ found: true });
    expect(await has(UNKNOWN)).toEqual({ found: false });
    double.before = () => {
      throw new HostError('TXINDEX_REQUIRED', 'no index');
    };
    expect(await reasonOf(() => has(UNKNOWN))).toBe('TXINDEX_REQUIRED');
  });
});
