import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  CheckTransactionRequest,
  GetSizeRequest,
  ListTransactionsRequest,
  type ListTransactionsResponse,
  MempoolServiceGetTransactionRequest,
  SubmitPackageRequest,
  SubmitTransactionRequest,
  TestTransactionRequest,
} from '../../gen/ts/modhost/v1/mempool.js';
import { HostError } from '../../src/contract/error.js';
import { MAX_MONEY_SATS, serializeTransaction, txid, wtxid } from '../../src/core/bitcoin/transaction.js';
import { toHex } from '../../src/core/bytes.js';
import type { MempoolApi, MempoolVerdict, SubmitOptions } from '../../src/node/node-api.js';
import { createMempoolService } from '../../src/services/mempool.js';
import { callContext, createNodeDouble, reasonOf, spend } from './node-double.js';

const context = callContext();
const transaction = spend({ witness: [Uint8Array.of(1)] });
const raw = serializeTransaction(transaction, { witness: true });
const id = txid(transaction);
const UNKNOWN = new Uint8Array(32).fill(7);

const verdict = (change: Partial<MempoolVerdict> = {}): MempoolVerdict => ({
  txid: id,
  wtxid: wtxid(transaction),
  accepted: true,
  rejectReason: '',
  alreadyKnown: false,
  vsize: 100,
  feeSats: 1_000n,
  ...change,
});

/** A mempool that has `transaction` and these other ids, and says what it is told to say. */
function rig(options: { txids?: Uint8Array[]; verdicts?: MempoolVerdict[]; change?: Partial<MempoolApi> } = {}) {
  const submitted: SubmitOptions[] = [];
  const verdicts = options.verdicts ?? [verdict()];
  const mempool: MempoolApi = {
    listTxids: async () => [...(options.txids ?? [])].sort(Buffer.compare),
    getEntry: async (wanted) =>
      toHex(wanted) === toHex(id)
        ? { txid: id, vsize: 100, feeSats: 1_000n, timeUnixS: 1, ancestorCount: 1, descendantCount: 1 }
        : undefined,
    getRaw: async (wanted) => (toHex(wanted) === toHex(id) ? raw : undefined),
    getSize: async () => ({ transactionCount: 1, vbytes: 100n, memoryBytes: 0n, minFeeRateSatPerKvb: 100n }),
    estimateFee: async (targetBlocks) => ({ targetBlocks: targetBlocks + 1 }),
    submit: async (_raw, bounds) => {
      submitted.push(bounds);
      return verdicts[0] as MempoolVerdict;
    },
    submitPackage: async () => verdicts,
    test: async () => verdicts,
    ...options.change,
  };
  const double = createNodeDouble({ mempool });
  return { double, submitted, service: createMempoolService({ node: double.node }) };
}

describe('requests are judged before the node is asked', () => {
  // biome-ignore lint/suspicious/noExplicitAny: one table calls every rpc
  const rows: [string, string, any, string][] = [
    ['page of 10,001', 'listTransactions', ListTransactionsRequest.fromPartial({ pageSize: 10_001 }), 'OUT_OF_RANGE'],
    [
      'token of 31 bytes',
      'listTransactions',
      ListTransactionsRequest.fromPartial({ pageToken: new Uint8Array(31) }),
      'INVALID_REQUEST',
    ],
    [
      'at_tip of 2 bytes',
      'listTransactions',
      ListTransactionsRequest.fromPartial({ atTip: new Uint8Array(2) }),
      'INVALID_REQUEST',
    ],
    ['no txid', 'getTransaction', MempoolServiceGetTransactionRequest.fromPartial({}), 'FIELD_REQUIRED'],
    ['format 7', 'getTransaction', { txid: id, format: 7, atTip: new Uint8Array(0) }, 'UNKNOWN_ENUM'],
    ['no txid', 'checkTransaction', CheckTransactionRequest.fromPartial({}), 'FIELD_REQUIRED'],
    ['at_tip of 64 bytes', 'getSize', GetSizeRequest.fromPartial({ atTip: new Uint8Array(64) }), 'INVALID_REQUEST'],
    ['target 0', 'getFeeEstimate', { targetBlocks: 0 }, 'OUT_OF_RANGE'],
    ['target 1,009', 'getFeeEstimate', { targetBlocks: 1_009 }, 'OUT_OF_RANGE'],
    ['no bytes', 'submitTransaction', SubmitTransactionRequest.fromPartial({}), 'FIELD_REQUIRED'],
    [
      'bytes that are no transaction',
      'submitTransaction',
      SubmitTransactionRequest.fromPartial({ raw: randomBytes(100).fill(0xee, 4, 5) }),
      'INVALID_REQUEST',
    ],
    [
      'a byte too many',
      'submitTransaction',
      SubmitTransactionRequest.fromPartial({ raw: Uint8Array.from([...raw, 0]) }),
      'INVALID_REQUEST',
    ],
    [
      '4,000,001 bytes',
      'submitTransaction',
      SubmitTransactionRequest.fromPartial({ raw: new Uint8Array(4_000_001) }),
      'OUT_OF_RANGE',
    ],
    [
      'a fee bound of 1 BTC',
      'submitTransaction',
      SubmitTransactionRequest.fromPartial({ raw, maxFeeRateSatPerKvb: 100_000_000n }),
      'OUT_OF_RANGE',
    ],
    [
      'a burn bound over all money',
      'submitTransaction',
      SubmitTransactionRequest.fromPartial({ raw, maxBurnSats: MAX_MONEY_SATS + 1n }),
      'OUT_OF_RANGE',
    ],
    [
      'C075: bounds of 2^64 - 1',
      'submitTransaction',
      { raw, maxFeeRateSatPerKvb: 2n ** 64n - 1n, maxBurnSats: 2n ** 64n - 1n },
      'OUT_OF_RANGE',
    ],
    ['an empty package', 'submitPackage', SubmitPackageRequest.fromPartial({}), 'FIELD_REQUIRED'],
    [
      'a package of 26',
      'submitPackage',
      SubmitPackageRequest.fromPartial({ raws: Array(26).fill(raw) }),
      'OUT_OF_RANGE',
    ],
    [
      'a package with one twice',
      'submitPackage',
      SubmitPackageRequest.fromPartial({ raws: [raw, raw] }),
      'INVALID_REQUEST',
    ],
    [
      'a package with an empty one',
      'submitPackage',
      SubmitPackageRequest.fromPartial({ raws: [raw, new Uint8Array(0)] }),
      'FIELD_REQUIRED',
    ],
    ['nothing to test', 'testTransaction', TestTransactionRequest.fromPartial({}), 'FIELD_REQUIRED'],
    [
      '26 to test',
      'testTransaction',
      TestTransactionRequest.fromPartial({ raws: Array(26).fill(raw) }),
      'OUT_OF_RANGE',
    ],
  ];

  it.each(rows)('%s: %s', async (_name, rpc, request, reason) => {
    const { service, double, submitted } = rig();
    const handler = service[rpc as keyof typeof service] as (request: unknown, context: unknown) => unknown;
    expect(await reasonOf(() => handler(request, context))).toBe(reason);
    expect([...double.calls, ...submitted]).toEqual([]);
  });

  it.each(rows.filter(([, rpc], index) => rows.findIndex((row) => row[1] === rpc) === index).map(([, rpc]) => rpc))(
    '%s without a mempool: NODE_LACKS_FEATURE',
    async (rpc) => {
      const service = createMempoolService({ node: createNodeDouble().node });
      const handler = service[rpc as keyof typeof service] as (request: unknown, context: unknown) => unknown;
      const request = {
        ...ListTransactionsRequest.fromPartial({}),
        ...SubmitPackageRequest.fromPartial({ raws: [raw] }),
        raw,
        txid: id,
        format: 0,
        targetBlocks: 2,
      };
      expect(await reasonOf(() => handler(request, context))).toBe('NODE_LACKS_FEATURE');
    },
  );
});

describe('reads', () => {
  it('pages through all ids once, also while others come and go', async () => {
    const txids = Array.from({ length: 25 }, () => new Uint8Array(randomBytes(32)));
    const { service } = rig({ txids });
    const seen: string[] = [];
    let pageToken: Uint8Array = new Uint8Array(0);
    const staying = txids.map(toHex);
    do {
      const request = ListTransactionsRequest.fromPartial({ pageSize: 4, pageToken });
      const page = (await service.listTransactions(request, context)) as ListTransactionsResponse;
      seen.push(...page.txids.map(toHex));
      pageToken = page.nextPageToken;
      txids.push(new Uint8Array(randomBytes(32)));
    } while (pageToken.byteLength > 0);
    expect(new Set(seen).size).toBe(seen.length);
    expect(staying.filter((txid) => !seen.includes(txid))).toEqual([]);
    expect(seen).toEqual([...seen].sort());
  });

  it('ends without a token when the last page is full', async () => {
    const { service } = rig({ txids: [id, UNKNOWN] });
    const page = await service.listTransactions(ListTransactionsRequest.fromPartial({ pageSize: 2 }), context);
    expect(page).toMatchObject({ nextPageToken: new Uint8Array(0), totalCount: 2 });
  });

  it('gives a transaction with its wtxid even when the node does not tell it', async () => {
    const { service } = rig();
    const request = MempoolServiceGetTransactionRequest.fromPartial({ txid: id });
    expect(await service.getTransaction(request, context)).toMatchObject({
      body: { $case: 'raw', value: raw },
      wtxid: wtxid(transaction),
      feeSats: 1_000n,
    });
    const decoded = await service.getTransaction({ ...request, format: 2 }, context);
    expect(decoded).toMatchObject({ body: { $case: 'decoded', value: { txid: id } } });
  });

  it('says TRANSACTION_NOT_FOUND for what is not in the mempool, and tells presence as an answer', async () => {
    const { service } = rig();
    const request = MempoolServiceGetTransactionRequest.fromPartial({ txid: UNKNOWN });
    expect(await reasonOf(() => service.getTransaction(request, context))).toBe('TRANSACTION_NOT_FOUND');
    const check = (wanted: Uint8Array) =>
      service.checkTransaction(CheckTransactionRequest.fromPartial({ txid: wanted }), context);
    expect(await check(UNKNOWN)).toEqual({ present: false });
    expect(await check(id)).toEqual({ present: true });
  });

  it('says TIP_MOVED when the mempool is asked about another tip', async () => {
    const { service } = rig();
    expect(await reasonOf(() => service.getSize({ atTip: UNKNOWN }, context))).toBe('TIP_MOVED');
  });

  it('tells apart "no fees" and "not told", "no estimate" and an estimate', async () => {
    const { service } = rig();
    const untold = await service.getSize(GetSizeRequest.fromPartial({}), context);
    expect(untold).toMatchObject({ totalFeeKnown: false, totalFeeSats: 0n });
    expect(await service.getFeeEstimate({ targetBlocks: 2 }, context)).toEqual({
      known: false,
      feeRateSatPerKvb: 0n,
      targetBlocks: 3,
    });
    const other = rig({ change: { estimateFee: async () => ({ targetBlocks: 2, feeRateSatPerKvb: 250n }) } });
    expect(await other.service.getFeeEstimate({ targetBlocks: 2 }, context)).toEqual({
      known: true,
      feeRateSatPerKvb: 250n,
      targetBlocks: 2,
    });
  });
});

describe('submissions', () => {
  it('has bounds of its own when the caller gives none', async () => {
    const { service, submitted } = rig();
    await service.submitTransaction(SubmitTransactionRequest.fromPartial({ raw }), context);
    await service.submitTransaction({ raw, maxFeeRateSatPerKvb: 99_999_999n, maxBurnSats: 5n }, context);
    expect(submitted).toEqual([
      { maxFeeRateSatPerKvb: 10_000_000n, maxBurnSats: 0n },
      { maxFeeRateSatPerKvb: 99_999_999n, maxBurnSats: 5n },
    ]);
  });

  it('takes "already known" as a success', async () => {
    const { service } = rig({ verdicts: [verdict({ alreadyKnown: true })] });
    expect(await service.submitTransaction(SubmitTransactionRequest.fromPartial({ raw }), context)).toEqual({
      txid: id,
      wtxid: wtxid(transaction),
      alreadyKnown: true,
    });
  });

  it('turns a refusal into TRANSACTION_REJECTED and passes on what the node throws', async () => {
    const refused = rig({ verdicts: [verdict({ accepted: false, rejectReason: 'min relay fee not met' })] });
    const request = SubmitTransactionRequest.fromPartial({ raw });
    expect(await reasonOf(() => refused.service.submitTransaction(request, context))).toBe('TRANSACTION_REJECTED');
    const submit = () => Promise.reject(new HostError('FEE_TOO_HIGH', 'over the bound'));
    const bounded = rig({ change: { submit } });
    expect(await reasonOf(() => bounded.service.submitTransaction(request, context))).toBe('FEE_TOO_HIGH');
  });

  it('gives a verdict per transaction of a package or test, and does not accept another number', async () => {
    const child = serializeTransaction(spend({ txid: id }), { witness: true });
    const verdicts = [verdict(), verdict({ accepted: false, rejectReason: 'bad-txns-inputs-missingorspent' })];
    const { service } = rig({ verdicts });
    const request = SubmitPackageRequest.fromPartial({ raws: [raw, child] });
    expect(await service.submitPackage(request, context)).toEqual({ verdicts });
    expect(await service.testTransaction(request, context)).toEqual({ verdicts });
    const short = rig();
    expect(await reasonOf(() => short.service.submitPackage(request, context))).toBe('NODE_ERROR');
    expect(await reasonOf(() => short.service.testTransaction(request, context))).toBe('NODE_ERROR');
  });

  it('judges millions of empty witness items without decoding them', async () => {
    const items = 3_900_000;
    const hostile = Buffer.alloc(raw.byteLength + items + 4);
    // one input, one output, then a stack of empty items
    const head = serializeTransaction(spend({ witness: [new Uint8Array(0)] }), { witness: true }).subarray(0, -6);
    const length = head.byteLength + 5 + items + 4;
    Buffer.from(head).copy(hostile);
    hostile[head.byteLength] = 0xfe;
    hostile.writeUInt32LE(items, head.byteLength + 1);
    const { service, submitted } = rig();
    const request = SubmitTransactionRequest.fromPartial({ raw: hostile.subarray(0, length) });
    await service.submitTransaction(request, context);
    expect(submitted).toHaveLength(1);
  });
});
