import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseBlock } from '../../../src/core/bitcoin/block.js';
import {
  parseTransaction,
  type Transaction,
  type TransactionOutput,
  txid,
} from '../../../src/core/bitcoin/transaction.js';
import { toHex } from '../../../src/core/bytes.js';
import { returnScript } from '../../../src/node/devchain/script.js';
import type { NodeEvent } from '../../../src/node/node-api.js';
import {
  type Bench,
  changedBlock,
  coinOf,
  createForeignWallet,
  type ForeignCoin,
  fund,
  groups,
  never,
  nextBlock,
  rawOf,
  startBench,
  unbounded,
  unsigned,
} from './bench.js';

describe('mempool of the devchain', () => {
  const wallet = createForeignWallet();
  let bench: Bench;
  let coin: ForeignCoin;
  let port: ReturnType<typeof groups>;

  beforeEach(async () => {
    bench = await startBench(110);
    coin = await fund(bench.devchain, wallet.p2tr);
    port = groups(bench.devchain);
    bench.fresh();
  });
  afterEach(() => bench.devchain.stop());

  /** Spends a coin to the foreign wallet itself. */
  function spend(from: ForeignCoin, feeSats: bigint, change: Parameters<typeof unsigned>[2] = {}): Uint8Array {
    return send(from, [{ valueSats: from.output.valueSats - feeSats, scriptPubkey: wallet.p2tr }], change);
  }
  function send(from: ForeignCoin, outputs: TransactionOutput[], change: Parameters<typeof unsigned>[2] = {}) {
    return rawOf(wallet.sign(unsigned([from], outputs, change), [from]));
  }
  const submit = (raw: Uint8Array) => port.mempool.submit(raw, unbounded, never);
  const reasonOf = async (raw: Uint8Array): Promise<string | undefined> =>
    (await port.mempool.test([raw], unbounded, never))[0]?.rejectReason;
  const idOf = (raw: Uint8Array): Uint8Array => txid(parseTransaction(raw));
  const removals = (events: NodeEvent[]) =>
    events.flatMap((event) => (event.type === 'TransactionRemoved' ? [[toHex(event.txid), event.reason]] : []));

  it('takes a transaction, tells it and shows it everywhere', async () => {
    const raw = spend(coin, 1_000n);
    const verdict = await submit(raw);
    expect(verdict).toMatchObject({
      accepted: true,
      alreadyKnown: false,
      rejectReason: '',
      feeSats: 1_000n,
      vsize: 112,
    });
    expect(bench.fresh()).toEqual([
      { type: 'TransactionAdded', txid: verdict.txid, feeSats: 1_000n, vsize: 112, mempoolCount: 1 },
    ]);
    expect(await port.mempool.listTxids(never)).toEqual([verdict.txid]);
    expect(await port.mempool.getRaw(verdict.txid, never)).toEqual(raw);
    expect(await port.mempool.getEntry(verdict.txid, never)).toEqual({
      txid: verdict.txid,
      wtxid: verdict.wtxid,
      vsize: 112,
      feeSats: 1_000n,
      timeUnixS: Math.floor(bench.clock.unixMs() / 1000),
      ancestorCount: 1,
      descendantCount: 1,
    });
    expect(await port.mempool.getSize(never)).toMatchObject({
      transactionCount: 1,
      vbytes: 112n,
      totalFeeSats: 1_000n,
    });
    expect(await port.chain.getTransaction(verdict.txid, undefined, never)).toEqual({ raw });
    expect(await port.utxo.getUtxo(coin, true, never)).toBeUndefined();
    expect(await port.utxo.getUtxo(coin, false, never)).toMatchObject({ valueSats: coin.output.valueSats });
    const made = { txid: verdict.txid, index: 0 };
    expect(await port.utxo.getUtxo(made, true, never)).toMatchObject({ height: undefined, coinbase: false });
    expect(await port.utxo.getUtxo(made, false, never)).toBeUndefined();
  });

  it('takes what it has already as known', async () => {
    const raw = spend(coin, 1_000n);
    await submit(raw);
    bench.fresh();
    expect(await submit(raw)).toMatchObject({ accepted: true, alreadyKnown: true, feeSats: 1_000n });
    expect(bench.fresh()).toEqual([]);
  });

  it('tells what it would say, changing nothing', async () => {
    const [parent, child] = [spend(coin, 1_000n), spend(coinOf(spend(coin, 1_000n), 0), 1_000n)];
    const verdicts = await port.mempool.test([parent, child], unbounded, never);
    expect(verdicts.map((verdict) => verdict.accepted)).toEqual([true, true]);
    expect(await reasonOf(child)).toBe('bad-txns-inputs-missingorspent');
    expect(await port.mempool.listTxids(never)).toEqual([]);
    expect(bench.fresh()).toEqual([]);
  });

  const refused: [string, string, (coin: ForeignCoin) => Transaction | Uint8Array][] = [
    ['fee under the floor', 'min relay fee not met', (from) => spend(from, 111n)],
    ['version 3', 'version', (from) => spend(from, 1_000n, { version: 3 })],
    ['version 0', 'version', (from) => spend(from, 1_000n, { version: 0 })],
    ['lock time ahead', 'non-final', (from) => spend(from, 1_000n, { lockTime: 100_000 })],
    ['relative lock not reached', 'non-BIP68-final', (from) => spend(from, 1_000n, { sequence: 10 })],
    ['dust', 'dust', (from) => send(from, [{ valueSats: 329n, scriptPubkey: wallet.p2tr }])],
    ['dust for a key hash', 'dust', (from) => send(from, [{ valueSats: 293n, scriptPubkey: wallet.p2wpkh }])],
    [
      'output nobody relays',
      'scriptpubkey',
      (from) =>
        send(from, [
          { valueSats: 1_000n, scriptPubkey: Uint8Array.of(0x51, 0x51, 0x51, 0x87) },
          { valueSats: 1_000n, scriptPubkey: wallet.p2tr },
        ]),
    ],
    [
      'two OP_RETURN outputs',
      'multi-op-return',
      (from) =>
        send(
          from,
          [0, 1].map((n) => ({ valueSats: 0n, scriptPubkey: returnScript(Uint8Array.of(n, 1, 2, 3)) })),
        ),
    ],
    [
      'long OP_RETURN',
      'datacarrier',
      (from) => send(from, [{ valueSats: 0n, scriptPubkey: Uint8Array.of(0x6a, 0x4c, 81, ...new Uint8Array(81)) }]),
    ],
    [
      'small enough for a tree node',
      'tx-size-small',
      (from) => send(from, [{ valueSats: 1_000n, scriptPubkey: Uint8Array.of(0x51, 2, 0x4e, 0x73) }]),
    ],
    ['outputs above inputs', 'bad-txns-in-belowout', (from) => spend(from, -1n)],
    ['unknown input', 'bad-txns-inputs-missingorspent', (from) => spend({ ...from, index: 7 }, 1_000n)],
    [
      'signature of another amount',
      'mempool-script-verify-flag-failed',
      (from) => {
        const lied = { ...from, output: { ...from.output, valueSats: from.output.valueSats - 1n } };
        return rawOf(wallet.sign(unsigned([from], [{ valueSats: 1_000n, scriptPubkey: wallet.p2tr }]), [lied]));
      },
    ],
  ];
  for (const [what, reason, make] of refused) {
    it(`refuses: ${what}`, async () => {
      const made = make(coin);
      const raw = made instanceof Uint8Array ? made : rawOf(made);
      expect(await reasonOf(raw)).toContain(reason);
      await expect(submit(raw)).rejects.toMatchObject({
        reason: 'TRANSACTION_REJECTED',
        details: { rejectReason: expect.stringContaining(reason) },
      });
      expect(await port.mempool.listTxids(never)).toEqual([]);
      expect(bench.fresh()).toEqual([]);
    });
  }

  it('refuses coinbases, confirmed transactions and immature spends', async () => {
    const { chain, mempool } = port;
    const young = await chain.getBlock(await chain.getHash(30, never), never);
    const coinbase = parseBlock(young.raw).transactions[0] as Transaction;
    expect(await reasonOf(rawOf(coinbase))).toBe('coinbase');
    expect(await reasonOf(spend(coinOf(rawOf(coinbase), 0), 1_000n))).toBe('bad-txns-premature-spend-of-coinbase');
    const { raw } = await chain.getTransaction(coin.txid, undefined, never);
    expect(await reasonOf(raw)).toBe('txn-already-known');
    expect((await mempool.getSize(never)).transactionCount).toBe(0);
  });

  it('refuses a high S and an unknown hash type, which blocks may hold', async () => {
    const keyed = await fund(bench.devchain, wallet.p2wpkh);
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const signed = wallet.sign(unsigned([keyed], [{ valueSats: 1_000_000n, scriptPubkey: wallet.p2tr }]), [keyed]);
    const [input] = signed.inputs;
    const signature = input?.witness[0] ?? new Uint8Array(0);
    const rEnd = 4 + (signature[3] ?? 0);
    const s = BigInt(`0x${toHex(signature.subarray(rEnd + 2, -1))}`);
    const high = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex');
    const highDer = Uint8Array.of(...signature.subarray(2, rEnd), 2, 33, 0, ...high);
    if (input !== undefined) input.witness[0] = Uint8Array.of(0x30, highDer.length, ...highDer, 1);
    expect(await reasonOf(rawOf(signed))).toContain('S value is unnecessarily high');
    const odd = wallet.sign(unsigned([keyed], [{ valueSats: 1_000_000n, scriptPubkey: wallet.p2tr }]), [keyed], 0x21);
    expect(await reasonOf(rawOf(odd))).toContain('hash type');
  });

  it('bounds fee rate and burn before anything happens', async () => {
    const dear = spend(coin, 10_000_000n);
    const options = { maxFeeRateSatPerKvb: 10_000_000n, maxBurnSats: 0n };
    await expect(port.mempool.submit(dear, options, never)).rejects.toMatchObject({ reason: 'FEE_TOO_HIGH' });
    await expect(port.mempool.submitPackage([dear], options, never)).rejects.toMatchObject({ reason: 'FEE_TOO_HIGH' });
    expect((await port.mempool.test([dear], options, never))[0]?.rejectReason).toBe('max-fee-exceeded');
    const burn = send(coin, [
      { valueSats: 10_000n, scriptPubkey: returnScript(Uint8Array.of(1, 2, 3, 4)) },
      { valueSats: coin.output.valueSats - 20_000n, scriptPubkey: wallet.p2tr },
    ]);
    await expect(port.mempool.submit(burn, unbounded, never)).rejects.toMatchObject({ reason: 'BURN_TOO_HIGH' });
    await expect(port.mempool.submitPackage([burn], unbounded, never)).rejects.toMatchObject({
      reason: 'BURN_TOO_HIGH',
    });
    expect((await port.mempool.test([burn], unbounded, never))[0]?.rejectReason).toBe('max-burn-exceeded');
    expect(bench.fresh()).toEqual([]);
    const allowed = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 10_000n };
    expect(await port.mempool.submit(burn, allowed, never)).toMatchObject({ accepted: true });
  });

  it('refuses bytes that are no transaction with INVALID_REQUEST', async () => {
    const raw = spend(coin, 1_000n);
    for (const bytes of [new Uint8Array(0), raw.subarray(0, -1), Uint8Array.of(...raw, 0)]) {
      await expect(submit(bytes)).rejects.toMatchObject({ reason: 'INVALID_REQUEST' });
      await expect(port.mempool.test([bytes], unbounded, never)).rejects.toMatchObject({ reason: 'INVALID_REQUEST' });
    }
  });

  it('replaces for a better rate and more fee, and only then', async () => {
    const first = spend(coin, 1_000n);
    const child = spend(coinOf(first, 0), 1_000n);
    await submit(first);
    await submit(child);
    bench.fresh();
    expect(await reasonOf(spend(coin, 1_500n))).toBe('insufficient fee');
    // Pays for what it evicts, but not for its own relay.
    expect(await reasonOf(spend(coin, 2_100n))).toBe('insufficient fee');
    const better = await submit(spend(coin, 2_112n));
    const events = bench.fresh();
    expect(removals(events)).toEqual([
      [toHex(idOf(first)), 'replaced'],
      [toHex(idOf(child)), 'replaced'],
    ]);
    expect(events.at(-1)).toMatchObject({ type: 'TransactionAdded', txid: better.txid, mempoolCount: 1 });
    expect(await port.mempool.listTxids(never)).toEqual([better.txid]);
  });

  it('refuses a replacement that spends what it evicts', async () => {
    const first = spend(coin, 1_000n);
    await submit(first);
    const own = coinOf(first, 0);
    const outputs = [{ valueSats: coin.output.valueSats, scriptPubkey: wallet.p2tr }];
    const both = wallet.sign(unsigned([coin, own], outputs), [coin, own]);
    expect(await reasonOf(rawOf(both))).toBe('bad-txns-spends-conflicting-tx');
  });

  it('refuses the same transaction with another witness', async () => {
    const raw = spend(coin, 1_000n);
    await submit(raw);
    const other = wallet.sign({ ...parseTransaction(raw) }, [coin], 0);
    expect(await reasonOf(rawOf(other))).toBe('txn-same-nonwitness-data-in-mempool');
  });

  it('holds lines of 25 and counts them', async () => {
    let tip = coin;
    const ids: Uint8Array[] = [];
    for (let i = 0; i < 25; i++) {
      const raw = spend(tip, 1_000n);
      ids.push((await submit(raw)).txid);
      tip = coinOf(raw, 0);
    }
    expect(await reasonOf(spend(tip, 1_000n))).toBe('too-long-mempool-chain');
    const [first = tip.txid, last = tip.txid] = [ids[0], ids[24]];
    expect(await port.mempool.getEntry(first, never)).toMatchObject({ ancestorCount: 1, descendantCount: 25 });
    expect(await port.mempool.getEntry(last, never)).toMatchObject({ ancestorCount: 25, descendantCount: 1 });
    const { transactions } = await port.mining.getTemplate(['segwit'], never);
    expect(transactions.map((item) => item.depends)).toEqual(ids.map((_, index) => (index === 0 ? [] : [index - 1])));
    await bench.devchain.control.mine(1);
    expect(await port.mempool.listTxids(never)).toEqual([]);
  });

  it('takes a package parents first, and refuses what is none', async () => {
    const parent = spend(coin, 1_000n);
    const child = spend(coinOf(parent, 0), 1_000n);
    const reason = async (raws: Uint8Array[]): Promise<unknown> => {
      const refusal = await port.mempool.submitPackage(raws, unbounded, never).catch((error: unknown) => error);
      return (refusal as { details: { rejectReason: string } }).details.rejectReason;
    };
    expect(await reason([child, parent])).toBe('package-not-sorted');
    expect(await reason([parent, parent])).toBe('package-contains-duplicates');
    expect(await reason([])).toBe('package-too-many-transactions');
    expect(await reason([parent, spend(coin, 2_000n)])).toBe('package-not-child-with-parents');
    expect(await port.mempool.listTxids(never)).toEqual([]);
    const verdicts = await port.mempool.submitPackage([parent, child], unbounded, never);
    expect(verdicts.map((verdict) => [verdict.accepted, verdict.alreadyKnown])).toEqual([
      [true, false],
      [true, false],
    ]);
    const again = await port.mempool.submitPackage([parent, child], unbounded, never);
    expect(again.map((verdict) => verdict.alreadyKnown)).toEqual([true, true]);
  });

  it('lets a block push out what conflicts with it', async () => {
    const raw = spend(coin, 1_000n);
    const child = spend(coinOf(raw, 0), 1_000n);
    const empty = await nextBlock(bench.devchain);
    await submit(raw);
    await submit(child);
    bench.fresh();
    const block = changedBlock(empty, (draft) => {
      draft.transactions.push(parseTransaction(spend(coin, 5_000n)));
    });
    expect(await port.mining.submitBlock(block, never)).toEqual({ outcome: 'accepted' });
    const events = bench.fresh();
    expect(removals(events)).toEqual([
      [toHex(idOf(child)), 'conflict'],
      [toHex(idOf(raw)), 'conflict'],
    ]);
    expect(events.map((event) => event.type)).toEqual([
      'BlockConnected',
      'NewTip',
      'TransactionRemoved',
      'TransactionRemoved',
    ]);
  });

  it('gives no fee estimate, and names the target that it answers for', async () => {
    expect(await port.mempool.estimateFee(6, never)).toEqual({ targetBlocks: 6 });
    expect(await port.mempool.estimateFee(0, never)).toEqual({ targetBlocks: 1 });
    expect(await port.mempool.estimateFee(5_000, never)).toEqual({ targetBlocks: 1_008 });
  });
});
