import { describe, expect, it } from 'vitest';
import { BlockFormat } from '../../gen/ts/modhost/v1/bitcoin.js';
import {
  GetBlockByHeightRequest,
  GetBlockHeaderRequest,
  GetBlockRequest,
  GetChainInfoRequest,
  GetTransactionRequest,
  GetTransactionsRequest,
  HasTransactionRequest,
  ListBlockTransactionsRequest,
  StreamBlocksRequest,
  StreamHeadersRequest,
} from '../../gen/ts/modhost/v1/chain.js';
import { createChainService } from '../../src/services/chain.js';
import { createNodeService } from '../../src/services/node.js';
import { callContext, createNodeDouble, reasonOf } from './node-double.js';

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

  it('C165: refuses when the tip moves during the read', async () => {
    const rigged = rig();
    const tip = rigged.double.hash(3);
    rigged.double.before = (call) => {
      if (call === 'getBlock') rigged.double.mine();
    };
    expect(await reasonOf(() => read(rigged, tip))).toBe('TIP_MOVED');
  });

  it('C165: reads once more when the tip moved and came back', async () => {
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
