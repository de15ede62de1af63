import { describe, expect, it } from 'vitest';
import { BlockFormat, type Transaction as TransactionMessage } from '../../gen/ts/modhost/v1/bitcoin.js';
import {
  GetBlockByHeightRequest,
  GetBlockHeaderRequest,
  GetBlockRequest,
  GetChainInfoRequest,
  GetTransactionRequest,
  GetTransactionsRequest,
  HasTransactionRequest,
  ListBlockTransactionsRequest,
  ListBlockTransactionsResponse,
  StreamBlocksRequest,
  type StreamBlocksResponse,
  StreamHeadersRequest,
  type StreamHeadersResponse,
} from '../../gen/ts/modhost/v1/chain.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { HostError } from '../../src/contract/error.js';
import { txid, wtxid } from '../../src/core/bitcoin/transaction.js';
import { equalBytes, toHex } from '../../src/core/bytes.js';
import { createChainService } from '../../src/services/chain.js';
import { createNodeService } from '../../src/services/node.js';
import { callContext, collect, createNodeDouble, reasonOf, spend } from './node-double.js';

const UNKNOWN = new Uint8Array(32).fill(7);

function rig(blocks = 4) {
  const double = createNodeDouble();
  for (let i = 1; i < blocks; i++) double.mine();
  return { double, chain: createChainService({ node: double.node }), context: callContext() };
}

// biome-ignore lint/suspicious/noExplicitAny: one table calls every rpc
type AnyCall = (chain: any, context: unknown) => unknown;

describe('requests are judged before the node is asked', () => {
  const call =
    (rpc: string, request: unknown): AnyCall =>
    (chain, context) =>
      chain[rpc](request, context);
  const hash32 = UNKNOWN;
  const rows: [string, AnyCall, string][] = [
    ['GetBlock without hash', call('getBlock', GetBlockRequest.fromPartial({})), 'FIELD_REQUIRED'],
    [
      'GetBlock with 31 bytes',
      call('getBlock', GetBlockRequest.fromPartial({ hash: hash32.subarray(1) })),
      'INVALID_REQUEST',
    ],
    ['GetBlock with format 9', call('getBlock', { hash: hash32, format: 9 }), 'UNKNOWN_ENUM'],
    ['GetBlock with format -1', call('getBlock', { hash: hash32, format: -1 }), 'UNKNOWN_ENUM'],
    [
      'GetBlockByHeight over 2^31',
      call('getBlockByHeight', GetBlockByHeightRequest.fromPartial({ height: 2 ** 31 })),
      'NO_CHAIN_HEIGHT',
    ],
    [
      'GetBlockByHeight at_tip of 3 bytes',
      call('getBlockByHeight', GetBlockByHeightRequest.fromPartial({ atTip: new Uint8Array(3) })),
      'INVALID_REQUEST',
    ],
    ['GetBlockHeader without hash', call('getBlockHeader', GetBlockHeaderRequest.fromPartial({})), 'FIELD_REQUIRED'],
    [
      'GetBlockHeader at_tip of 33 bytes',
      call('getBlockHeader', GetBlockHeaderRequest.fromPartial({ hash: hash32, atTip: new Uint8Array(33) })),
      'INVALID_REQUEST',
    ],
    [
      'GetChainInfo at_tip of 1 byte',
      call('getChainInfo', GetChainInfoRequest.fromPartial({ atTip: new Uint8Array(1) })),
      'INVALID_REQUEST',
    ],
    ['GetTransaction without query', call('getTransaction', GetTransactionRequest.fromPartial({})), 'FIELD_REQUIRED'],
    [
      'GetTransaction without txid',
      call('getTransaction', GetTransactionRequest.fromPartial({ query: {} })),
      'FIELD_REQUIRED',
    ],
    [
      'GetTransaction block_hash of 5 bytes',
      call(
        'getTransaction',
        GetTransactionRequest.fromPartial({ query: { txid: hash32, blockHash: new Uint8Array(5) } }),
      ),
      'INVALID_REQUEST',
    ],
    [
      'GetTransaction with format 3',
      call('getTransaction', { query: { txid: hash32, blockHash: new Uint8Array(0) }, format: 3 }),
      'UNKNOWN_ENUM',
    ],
    [
      'GetTransactions without queries',
      call('getTransactions', GetTransactionsRequest.fromPartial({})),
      'FIELD_REQUIRED',
    ],
    [
      'GetTransactions with 101',
      call('getTransactions', GetTransactionsRequest.fromPartial({ queries: Array(101).fill({ txid: hash32 }) })),
      'OUT_OF_RANGE',
    ],
    [
      'GetTransactions with one bad txid',
      call(
        'getTransactions',
        GetTransactionsRequest.fromPartial({ queries: [{ txid: hash32 }, { txid: new Uint8Array(1) }] }),
      ),
      'INVALID_REQUEST',
    ],
    ['HasTransaction without query', call('hasTransaction', HasTransactionRequest.fromPartial({})), 'FIELD_REQUIRED'],
    [
      'ListBlockTransactions without hash',
      call('listBlockTransactions', ListBlockTransactionsRequest.fromPartial({})),
      'FIELD_REQUIRED',
    ],
    [
      'StreamBlocks backwards',
      call('streamBlocks', StreamBlocksRequest.fromPartial({ fromHeight: 3, toHeight: 2 })),
      'OUT_OF_RANGE',
    ],
    [
      'StreamHeaders backwards',
      call('streamHeaders', StreamHeadersRequest.fromPartial({ fromHeight: 3, toHeight: 2 })),
      'OUT_OF_RANGE',
    ],
  ];

  it.each(rows)('%s', async (_name, make, reason) => {
    const { double, chain, context } = rig();
    expect(await reasonOf(() => make(chain, context))).toBe(reason);
    expect(double.calls).toEqual([]);
  });
});

describe('blocks and headers', () => {
  it('gives a block raw, or its header alone', async () => {
    const { double, chain, context } = rig();
    const raw = double.mine();
    const hash = double.hash(4);
    const full = await chain.getBlock(GetBlockRequest.fromPartial({ hash }), context);
    expect(full).toEqual({ hash, height: 4, confirmations: 1, body: { $case: 'raw', value: raw } });
    const header = await chain.getBlock({ hash, format: BlockFormat.HEADER }, context);
    expect(header).toMatchObject({ confirmations: 1, body: { $case: 'header', value: raw.subarray(0, 80) } });
    expect(double.calls.filter((name) => name === 'getBlock')).toHaveLength(1);
  });

  it('says that a stale block has no confirmations', async () => {
    const { double, chain, context } = rig();
    const hash = double.hash(3);
    double.disconnect(1);
    double.mine();
    expect(await chain.getBlock({ hash, format: BlockFormat.RAW }, context)).toMatchObject({ confirmations: 0 });
  });

  it('decodes the fields of a header', async () => {
    const { double, chain, context } = rig();
    const answer = await chain.getBlockHeader(GetBlockHeaderRequest.fromPartial({ hash: double.hash(2) }), context);
    expect(answer).toMatchObject({
      header: { height: 2, confirmations: 2, txCount: 1, fields: { version: 4, bits: 0x207fffff } },
    });
    if (!('header' in answer)) throw new Error('no header');
    expect(answer.header?.fields?.previousHash).toEqual(double.hash(1));
  });

  it('does not pass on a header that is not the one of its hash', async () => {
    const { double, chain, context } = rig();
    const { getHeader } = double.node.chain;
    double.node.chain.getHeader = async (hash, signal) => ({ ...(await getHeader(hash, signal)), hash: UNKNOWN });
    const request = GetBlockHeaderRequest.fromPartial({ hash: double.hash(2) });
    expect(await reasonOf(() => chain.getBlockHeader(request, context))).toBe('NODE_ERROR');
  });

  it.each([
    ['an unknown hash', GetBlockRequest.fromPartial({ hash: UNKNOWN }), 'BLOCK_NOT_FOUND'],
    [
      'an unknown hash, header',
      GetBlockRequest.fromPartial({ hash: UNKNOWN, format: BlockFormat.HEADER }),
      'BLOCK_NOT_FOUND',
    ],
  ])('%s', async (_name, request, reason) => {
    const { chain, context } = rig();
    expect(await reasonOf(() => chain.getBlock(request, context))).toBe(reason);
  });

  it('has no block above the tip', async () => {
    const { chain, context } = rig();
    const request = GetBlockByHeightRequest.fromPartial({ height: 4 });
    expect(await reasonOf(() => chain.getBlockByHeight(request, context))).toBe('NO_CHAIN_HEIGHT');
  });

  it('tells tip, height, state and progress', async () => {
    const { double, chain, context } = rig();
    expect(await chain.getChainTip({}, context)).toEqual({ hash: double.hash(3), height: 3 });
    expect(await chain.getBlockHeight({}, context)).toEqual({ height: 3 });
    expect(await chain.getChainInfo(GetChainInfoRequest.fromPartial({}), context)).toMatchObject({ synced: true });
    expect(await chain.getSyncStatus({}, context)).toMatchObject({ phase: 3, progress: 1, blocks: 3 });
    expect(await createNodeService({ node: double.node }).getNodeInfo({}, context)).toMatchObject({ kind: 'double' });
  });
});

describe('at_tip', () => {
  const read = (rigged: ReturnType<typeof rig>, atTip: Uint8Array) =>
    rigged.chain.getBlockByHeight(GetBlockByHeightRequest.fromPartial({ height: 1, atTip }), rigged.context);

  it('passes an answer of the tip named', async () => {
    const rigged = rig();
    expect(await read(rigged, rigged.double.hash(3))).toMatchObject({ height: 1, confirmations: 3 });
  });

  it('refuses another tip without reading', async () => {
    const rigged = rig();
    expect(await reasonOf(() => read(rigged, rigged.double.hash(2)))).toBe('TIP_MOVED');
    expect(rigged.double.calls).toEqual(['getState', 'getState']);
  });

  it('refuses when the tip moves during the read', async () => {
    const rigged = rig();
    const tip = rigged.double.hash(3);
    rigged.double.before = (call) => {
      if (call === 'getBlock') rigged.double.mine();
    };
    expect(await reasonOf(() => read(rigged, tip))).toBe('TIP_MOVED');
  });

  it('reads once more when the tip moved and came back', async () => {
    const rigged = rig();
    const tip = rigged.double.hash(3);
    let reads = 0;
    rigged.double.before = (call) => {
      if (call === 'getBlock' && ++reads === 1) rigged.double.mine();
      // gone again before the second attempt looks at the tip
      if (call === 'getState' && rigged.double.calls.filter((name) => name === 'getState').length === 3) {
        rigged.double.disconnect(1);
      }
    };
    expect(await read(rigged, tip)).toMatchObject({ confirmations: 3 });
    expect(reads).toBe(2);
  });

  it('keeps the reason of a read that fails on the right tip', async () => {
    const { double, chain, context } = rig();
    const request = GetBlockHeaderRequest.fromPartial({ hash: UNKNOWN, atTip: double.hash(3) });
    expect(await reasonOf(() => chain.getBlockHeader(request, context))).toBe('BLOCK_NOT_FOUND');
  });
});

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

describe('ranges', () => {
  const blocks = (rigged: ReturnType<typeof rig>, range: Partial<StreamBlocksRequest>) =>
    rigged.chain.streamBlocks(
      StreamBlocksRequest.fromPartial(range),
      rigged.context,
    ) as AsyncIterable<StreamBlocksResponse>;
  const headers = (rigged: ReturnType<typeof rig>, range: Partial<StreamHeadersRequest>) =>
    rigged.chain.streamHeaders(
      StreamHeadersRequest.fromPartial(range),
      rigged.context,
    ) as AsyncIterable<StreamHeadersResponse>;

  it.each([
    [{}, [0, 1, 2, 3, 4, 5]],
    [{ fromHeight: 4 }, [4, 5]],
    [{ fromHeight: 1, toHeight: 3 }, [1, 2, 3]],
    [{ fromHeight: 1, toHeight: 5, count: 2 }, [1, 2]],
    [{ count: 1 }, [0]],
    [{ fromHeight: 5, count: 100 }, [5]],
  ])('%o', async (range, heights) => {
    const rigged = rig(6);
    expect((await collect(blocks(rigged, range))).map((block) => block.height)).toEqual(heights);
    const pages = await collect(headers(rigged, range));
    expect(pages.flatMap((page) => page.headers.map((header) => header.height))).toEqual(heights);
  });

  it.each([{ fromHeight: 6 }, { fromHeight: 1, toHeight: 6 }])('above the tip: %o', async (range) => {
    const rigged = rig(6);
    expect(await reasonOf(() => blocks(rigged, range))).toBe('NO_CHAIN_HEIGHT');
    expect(await reasonOf(() => headers(rigged, range))).toBe('NO_CHAIN_HEIGHT');
  });

  it('gives headers in messages of 1,000', async () => {
    const rigged = rig(2_101);
    const pages = await collect(headers(rigged, {}));
    expect(pages.map((page) => page.headers.length)).toEqual([1_000, 1_000, 101]);
  });

  it('never walks from one branch to another: TIP_MOVED', async () => {
    const rigged = rig(10);
    const seen: Uint8Array[] = [];
    const walk = async () => {
      for await (const block of blocks(rigged, {})) {
        const parent = seen.at(-1);
        if (parent !== undefined) expect(equalBytes(block.raw.subarray(4, 36), parent)).toBe(true);
        seen.push(block.hash);
        if (block.height === 4) {
          rigged.double.disconnect(8);
          for (let i = 0; i < 9; i++) rigged.double.mine();
        }
      }
    };
    expect(await reasonOf(walk)).toBe('TIP_MOVED');
    expect(seen.length).toBeGreaterThanOrEqual(5);
    expect(seen.length).toBeLessThan(10);
  });

  it('says TIP_MOVED when the chain becomes shorter than the range', async () => {
    const rigged = rig(10);
    const walk = async () => {
      for await (const block of blocks(rigged, {})) if (block.height === 2) rigged.double.disconnect(5);
    };
    expect(await reasonOf(walk)).toBe('TIP_MOVED');
  });

  it('says TIP_MOVED when a reorganisation falls between two messages of headers', async () => {
    const rigged = rig(1_005);
    const walk = async () => {
      for await (const _ of headers(rigged, {})) {
        rigged.double.disconnect(10);
        for (let i = 0; i < 11; i++) rigged.double.mine();
      }
    };
    expect(await reasonOf(walk)).toBe('TIP_MOVED');
  });

  it('fetches at most two blocks ahead of a reader that waits', async () => {
    const rigged = rig(20);
    const walk = blocks(rigged, {})[Symbol.asyncIterator]();
    await walk.next();
    await new Promise((resolve) => setImmediate(resolve));
    expect(rigged.double.calls.filter((call) => call === 'getBlock').length).toBeLessThanOrEqual(3);
    await walk.return?.();
    const asked = rigged.double.calls.length;
    await new Promise((resolve) => setImmediate(resolve));
    expect(rigged.double.calls.length).toBe(asked);
  });

  it('stops when the call is cancelled', async () => {
    const rigged = rig(20);
    const controller = new AbortController();
    const stream = rigged.chain.streamBlocks(StreamBlocksRequest.fromPartial({}), callContext(controller.signal));
    const walk = async () => {
      for await (const _ of stream) controller.abort(new HostError('CANCELLED', 'enough'));
    };
    expect(await reasonOf(walk)).toBe('CANCELLED');
  });
});
