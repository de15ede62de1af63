import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseBlock } from '../../../src/core/bitcoin/block.js';
import { blockHash } from '../../../src/core/bitcoin/header.js';
import { uint256FromBytes } from '../../../src/core/bitcoin/target.js';
import { solveTemplate } from '../../../src/node/devchain/miner.js';
import { POW_LIMIT, subsidyAt } from '../../../src/node/devchain/params.js';
import {
  type Bench,
  coinOf,
  createForeignWallet,
  fund,
  groups,
  never,
  nextBlock,
  rawOf,
  startBench,
  unbounded,
  unsigned,
} from './bench.js';

describe('templates and blocks of the devchain', () => {
  let bench: Bench;
  let port: ReturnType<typeof groups>;

  beforeEach(async () => {
    bench = await startBench(110);
    port = groups(bench.devchain);
  });
  afterEach(() => bench.devchain.stop());

  it('gives a template with every field of BIP 22, 23 and 145', async () => {
    await bench.devchain.control.spend(2);
    const template = await port.mining.getTemplate(['segwit'], never);
    const state = await port.chain.getState(never);
    const fees = template.transactions.reduce((sum, item) => sum + item.feeSats, 0n);
    expect(template).toMatchObject({
      previousHash: state.tip.hash,
      height: 111,
      version: 0x2000_0000,
      versionBitsMask: 0x1fff_e000,
      bits: 0x207f_ffff,
      minTimeUnixS: state.medianTimeUnixS + 1,
      coinbaseValueSats: subsidyAt(111) + fees,
      sigopLimit: 80_000,
      sizeLimit: 4_000_000,
      weightLimit: 4_000_000,
    });
    expect(uint256FromBytes(template.target)).toBe(POW_LIMIT);
    expect(template.witnessCommitmentScript).toHaveLength(38);
    expect(template.transactions).toHaveLength(2);
    for (const item of template.transactions) expect(item.weight).toBeGreaterThan(400);
  });

  it('takes a block mined from its template, and its hash shows everywhere', async () => {
    await bench.devchain.control.spend(3);
    bench.fresh();
    const raw = await nextBlock(bench.devchain);
    expect(await port.mining.submitBlock(raw, never)).toEqual({ outcome: 'accepted' });
    expect(await port.mining.submitBlock(raw, never)).toEqual({ outcome: 'duplicate' });
    const hash = blockHash(raw.subarray(0, 80));
    const [connected, tip, ...removed] = bench.fresh();
    expect(connected).toMatchObject({ type: 'BlockConnected', hash, height: 111, txCount: 4, sizeBytes: raw.length });
    expect(tip).toMatchObject({ type: 'NewTip', previousHash: hash, height: 112, coinbaseValueSats: subsidyAt(112) });
    expect(removed.map((event) => event.type === 'TransactionRemoved' && event.reason)).toEqual(
      Array.from({ length: 3 }, () => 'confirmed'),
    );
    expect((await port.chain.getBlock(hash, never)).raw).toEqual(raw);
    for (const transaction of parseBlock(raw).transactions) {
      const found = await port.chain.getTransaction(coinOf(rawOf(transaction), 0).txid, undefined, never);
      expect(found).toEqual({ raw: rawOf(transaction), block: { hash, height: 111 } });
    }
  });

  it('chooses by the rate of a transaction with its ancestors', async () => {
    const wallet = createForeignWallet();
    const coins = [await fund(bench.devchain, wallet.p2tr), await fund(bench.devchain, wallet.p2tr)];
    const pay = (coin: (typeof coins)[number], feeSats: bigint) => {
      const outputs = [{ valueSats: coin.output.valueSats - feeSats, scriptPubkey: wallet.p2tr }];
      return rawOf(wallet.sign(unsigned([coin], outputs), [coin]));
    };
    const [a, b] = coins;
    if (a === undefined || b === undefined) throw new Error('no coins');
    const poorParent = pay(a, 200n);
    const richChild = pay(coinOf(poorParent, 0), 20_000n);
    const middling = pay(b, 2_000n);
    for (const raw of [poorParent, middling, richChild]) await port.mempool.submit(raw, unbounded, never);
    const { transactions } = await port.mining.getTemplate(['segwit'], never);
    expect(transactions.map((item) => item.raw)).toEqual([poorParent, richChild, middling]);
    expect(transactions.map((item) => item.depends)).toEqual([[], [0], []]);
  });

  it('leaves witnesses out for a miner without the segwit rule, and takes the block', async () => {
    await bench.devchain.control.spend(2);
    const template = await port.mining.getTemplate([], never);
    expect(template.transactions).toEqual([]);
    expect(template.witnessCommitmentScript).toHaveLength(0);
    expect(template.coinbaseValueSats).toBe(subsidyAt(111));
    const raw = solveTemplate(template, { rewardScript: bench.devchain.control.scripts().p2tr, extraNonce: 1 });
    expect(await port.mining.submitBlock(raw, never)).toEqual({ outcome: 'accepted' });
  });

  it('calls a block beside the tip inconclusive', async () => {
    const [first, second] = [await nextBlock(bench.devchain, 1), await nextBlock(bench.devchain, 2)];
    expect(await port.mining.submitBlock(first, never)).toEqual({ outcome: 'accepted' });
    bench.fresh();
    expect(await port.mining.submitBlock(second, never)).toEqual({ outcome: 'inconclusive' });
    expect(bench.fresh()).toEqual([]);
  });

  it('takes blocks received elsewhere, in their order, within a bound', async () => {
    const other = await startBench(113);
    const { queueBlock } = port.mining;
    if (queueBlock === undefined) throw new Error('queue-block is promised');
    const source = groups(other.devchain).chain;
    for (const height of [111, 112, 113]) {
      const { raw } = await source.getBlock(await source.getHash(height, never), never);
      await queueBlock(raw, never);
    }
    await queueBlock(new Uint8Array(3), never);
    // Reads that change nothing do not wait for the queue; a template does.
    expect((await port.mining.getTemplate(['segwit'], never)).height).toBe(114);
    const raw = await nextBlock(bench.devchain);
    const calls = Array.from({ length: 40 }, () => queueBlock(raw, never));
    const refused = (await Promise.allSettled(calls)).filter((result) => result.status === 'rejected');
    expect(refused.length).toBe(24);
    for (const result of refused) expect(result).toMatchObject({ reason: { reason: 'NODE_BUSY', retryAfterMs: 100 } });
    await other.devchain.stop();
  });

  it('tells templates only while somebody watches, and after NewTip', async () => {
    const { watchTemplates } = bench.devchain;
    if (watchTemplates === undefined) throw new Error('the devchain has templates');
    bench.fresh();
    await bench.devchain.control.mine(1);
    await port.mining.getTemplate([], never);
    expect(bench.fresh().map((event) => event.type)).toEqual(['BlockConnected', 'NewTip']);
    const unwatch = watchTemplates(['segwit']);
    await bench.devchain.control.mine(1);
    await port.mining.getTemplate([], never);
    const watched = bench.fresh();
    expect(watched.map((event) => event.type)).toEqual(['BlockConnected', 'NewTip', 'TemplateUpdated']);
    expect(watched.at(-1)).toMatchObject({ template: { height: 113 } });
    await bench.devchain.control.spend(1);
    await until(() => bench.events.at(-1)?.type === 'TemplateUpdated');
    expect(bench.events.at(-1)).toMatchObject({ template: { height: 113, transactions: [{}] } });
    unwatch();
    unwatch();
    bench.fresh();
    await bench.devchain.control.mine(1);
    await port.mining.getTemplate([], never);
    expect(bench.fresh().map((event) => event.type)).not.toContain('TemplateUpdated');
  });

  it('pays coinbases to a script of the owner, however long', async () => {
    const wallet = createForeignWallet();
    const [hash] = await bench.devchain.control.mine(1, wallet.p2wpkh);
    const { raw } = await port.chain.getBlock(hash ?? new Uint8Array(0), never);
    expect(parseBlock(raw).transactions[0]?.outputs[0]?.scriptPubkey).toEqual(wallet.p2wpkh);
    await bench.devchain.control.mine(1, new Uint8Array(10_000).fill(0xac));
    await expect(bench.devchain.control.mine(1, new Uint8Array(10_001))).rejects.toMatchObject({
      reason: 'OUT_OF_RANGE',
    });
    for (const count of [0, -1, 1.5, 40_001]) {
      await expect(bench.devchain.control.mine(count)).rejects.toMatchObject({ reason: 'OUT_OF_RANGE' });
    }
  });
});

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 20));
}
