import { afterEach, describe, expect, it } from 'vitest';
import { parseBlock } from '../../../src/core/bitcoin/block.js';
import { blockHash } from '../../../src/core/bitcoin/header.js';
import { toHex } from '../../../src/core/bytes.js';
import type { NodeEvent } from '../../../src/node/node-api.js';
import {
  type Bench,
  changedBlock,
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

/** Chain events in short: what, height. */
function moves(events: readonly NodeEvent[]): string[] {
  return events.flatMap((event) => {
    if (event.type === 'BlockConnected') return [`+${event.height}`];
    if (event.type === 'BlockDisconnected') return [`-${event.height}`];
    return event.type === 'ChainReorg'
      ? [`reorg ${event.oldTip.height}>${event.newTip.height}@${event.fork.height}`]
      : [];
  });
}

describe('reorganisations of the devchain', () => {
  let bench: Bench;
  afterEach(() => bench.devchain.stop());

  for (let depth = 1; depth <= 10; depth++) {
    it(`replaces the last ${depth} in one move, told from the tip downwards and then upwards`, async () => {
      bench = await startBench(20);
      bench.fresh();
      const { disconnected, connected } = await bench.devchain.control.reorg(depth);
      const events = bench.fresh();
      const down = Array.from({ length: depth }, (_, i) => `-${20 - i}`);
      const up = Array.from({ length: depth + 1 }, (_, i) => `+${20 - depth + 1 + i}`);
      expect(moves(events)).toEqual([...down, ...up, `reorg 20>21@${20 - depth}`]);
      const hashes = (type: NodeEvent['type']) =>
        events.flatMap((event) => (event.type === type && 'hash' in event ? [event.hash] : []));
      expect(hashes('BlockDisconnected')).toEqual(disconnected);
      expect(hashes('BlockConnected')).toEqual(connected);
      expect(events.at(-1)).toMatchObject({ type: 'NewTip', previousHash: connected.at(-1), height: 22 });
    });
  }

  it('keeps stale blocks readable, without confirmations', async () => {
    bench = await startBench(20);
    const { chain } = groups(bench.devchain);
    const stale = await chain.getHash(19, never);
    const raw = (await chain.getBlock(stale, never)).raw;
    await bench.devchain.control.reorg(2);
    expect(await chain.getBlock(stale, never)).toEqual({ hash: stale, height: 19, raw });
    expect(await chain.getHeader(stale, never)).toMatchObject({ height: 19, confirmations: 0, txCount: 1 });
    expect(await chain.getHash(19, never)).not.toEqual(stale);
  });

  it('takes transactions back into the mempool, children included, and confirms them again', async () => {
    bench = await startBench(110);
    const { mempool, chain } = groups(bench.devchain);
    const wallet = createForeignWallet();
    const coin = await fund(bench.devchain, wallet.p2tr);
    const pay = (from: typeof coin) => {
      const outputs = [{ valueSats: from.output.valueSats - 1_000n, scriptPubkey: wallet.p2tr }];
      return rawOf(wallet.sign(unsigned([from], outputs), [from]));
    };
    const parent = pay(coin);
    const child = pay(coinOf(parent, 0));
    const grandchild = pay(coinOf(child, 0));
    const ids: Uint8Array[] = [];
    for (const raw of [parent, child]) {
      ids.push((await mempool.submit(raw, unbounded, never)).txid);
      await bench.devchain.control.mine(1);
    }
    ids.push((await mempool.submit(grandchild, unbounded, never)).txid);
    bench.fresh();
    await bench.devchain.control.reorg(2);
    const sorted = (list: Uint8Array[]) => list.map(toHex).sort();
    expect(sorted(await mempool.listTxids(never))).toEqual(sorted(ids));
    const added = bench.fresh().flatMap((event) => (event.type === 'TransactionAdded' ? [event] : []));
    expect(added.map((event) => [toHex(event.txid), event.mempoolCount])).toEqual([
      [toHex(ids[0] ?? new Uint8Array(0)), 2],
      [toHex(ids[1] ?? new Uint8Array(0)), 3],
    ]);
    expect(await mempool.getEntry(ids[2] ?? new Uint8Array(0), never)).toMatchObject({ ancestorCount: 3 });
    await bench.devchain.control.mine(1);
    expect(await mempool.listTxids(never)).toEqual([]);
    expect((await chain.getTransaction(ids[2] ?? new Uint8Array(0), undefined, never)).block?.height).toBe(115);
  });

  it('drops from the mempool what the new branch makes impossible', async () => {
    bench = await startBench(110);
    const { mempool } = groups(bench.devchain);
    // The coinbase of block 11 may be spent at height 111 and not before.
    const coinbase = coinbaseCoin((await blockAt(bench, 11)).raw);
    const spend = await bench.devchain.control.createSpend({ outpoint: coinbase });
    if (spend === undefined) throw new Error('no coin');
    const { txid } = await mempool.submit(spend, unbounded, never);
    bench.fresh();
    await bench.devchain.control.invalidate((await blockAt(bench, 110)).hash);
    expect(await mempool.listTxids(never)).toEqual([]);
    expect(bench.fresh()).toContainEqual({ type: 'TransactionRemoved', txid, reason: 'rejected', mempoolCount: 0 });
  });

  it('falls back to the best branch when a block is invalidated, and refuses what builds on it', async () => {
    bench = await startBench(20);
    const { chain, mining } = groups(bench.devchain);
    const oldTip = await chain.getHash(20, never);
    await bench.devchain.control.reorg(3);
    const [low, tip] = [await chain.getHash(18, never), await chain.getHash(21, never)];
    const child = await nextBlock(bench.devchain);
    bench.fresh();
    await bench.devchain.control.invalidate(low);
    expect((await chain.getState(never)).tip).toEqual({ hash: oldTip, height: 20 });
    expect(moves(bench.fresh())).toEqual(['-21', '-20', '-19', '-18', '+18', '+19', '+20', 'reorg 21>20@17']);
    expect(await mining.submitBlock(child, never)).toEqual({ outcome: 'rejected', reason: 'bad-prevblk' });
    const known = await chain.getBlock(tip, never);
    expect(await mining.submitBlock(known.raw, never)).toEqual({ outcome: 'rejected', reason: 'duplicate-invalid' });
    await bench.devchain.control.invalidate(low);
    await expect(bench.devchain.control.invalidate(await chain.getHash(0, never))).rejects.toMatchObject({
      reason: 'INVALID_REQUEST',
    });
    await expect(bench.devchain.control.invalidate(new Uint8Array(32))).rejects.toMatchObject({
      reason: 'BLOCK_NOT_FOUND',
    });
  });

  it('stays on its chain, silent, when a longer branch turns out to break a rule', async () => {
    bench = await startBench(20);
    const { chain, mining } = groups(bench.devchain);
    const state = await chain.getState(never);
    // A branch of two: its first block takes too much, which nobody checks before the branch is the longer one.
    const sound = (await chain.getBlock(state.tip.hash, never)).raw;
    const greedy = changedBlock(sound, (draft) => {
      const [output] = draft.transactions[0]?.outputs ?? [];
      if (output !== undefined) output.valueSats += 1n;
    });
    bench.fresh();
    expect(await mining.submitBlock(greedy, never)).toEqual({ outcome: 'inconclusive' });
    expect(await mining.submitBlock(greedy, never)).toEqual({ outcome: 'duplicate' });
    const next = changedBlock(await nextBlock(bench.devchain), (draft) => {
      draft.header.previousHash = blockHash(greedy.subarray(0, 80));
    });
    expect(await mining.submitBlock(next, never)).toEqual({ outcome: 'rejected', reason: 'bad-prevblk' });
    expect(await mining.submitBlock(greedy, never)).toEqual({ outcome: 'rejected', reason: 'duplicate-invalid' });
    expect(await chain.getState(never)).toEqual(state);
    expect(bench.fresh()).toEqual([]);
  });

  it('refuses depths and lengths that make no sense', async () => {
    bench = await startBench(5);
    const { control } = bench.devchain;
    for (const depth of [0, -1, 1.5, 6, Number.NaN]) {
      await expect(control.reorg(depth)).rejects.toMatchObject({ reason: 'OUT_OF_RANGE' });
    }
    await expect(control.reorg(2, { length: 2 })).rejects.toMatchObject({ reason: 'OUT_OF_RANGE' });
    bench.fresh();
    await control.reorg(2, { length: 5 });
    expect(moves(bench.fresh())).toEqual(['-5', '-4', '+4', '+5', '+6', 'reorg 5>6@3', '+7', '+8']);
    await control.reorg(8);
    expect(control.height()).toBe(9);
  });
});

async function blockAt(bench: Bench, height: number) {
  const { chain } = groups(bench.devchain);
  return chain.getBlock(await chain.getHash(height, never), never);
}

/** The first output of a block's coinbase. */
function coinbaseCoin(raw: Uint8Array) {
  const [coinbase] = parseBlock(raw).transactions;
  if (coinbase === undefined) throw new Error('no coinbase');
  return coinOf(rawOf(coinbase), 0);
}
