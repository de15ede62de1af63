import { describe, expect, it } from 'vitest';
import { toHex } from '../../../src/core/bytes.js';
import { createSystemClock } from '../../../src/core/clock.js';
import { createSilentLogger, type LogFields } from '../../../src/core/logger.js';
import { createDevchain } from '../../../src/node/devchain/devchain.js';
import type { NodeEvent } from '../../../src/node/node-api.js';
import { createTestRandom, groups, never, startBench, unbounded } from './bench.js';

describe('devchain', () => {
  it('says of itself that it is simulated', async () => {
    const { devchain } = await startBench(0);
    expect(await devchain.getInfo(never)).toMatchObject({
      kind: 'devchain',
      version: '/modhost-devchain:0.1.0/',
      network: 'regtest',
      simulated: true,
      pruned: false,
      initialBlockDownload: false,
      indexes: ['txindex'],
    });
    expect([devchain.lightning, devchain.payment, devchain.governance]).toEqual([undefined, undefined, undefined]);
    const { network } = groups(devchain);
    expect(await network.getStats(never)).toMatchObject({ peerCount: 0, networkActive: false, hashRate: 0 });
    expect(await network.getPeers(never)).toEqual([]);
    await expect(network.banPeer('127.0.0.1:1', 0, never)).rejects.toMatchObject({ reason: 'NODE_LACKS_FEATURE' });
    await devchain.stop();
  });

  it('is the same in two runs with the same clock, seed and randomness', async () => {
    const run = async (label?: string): Promise<string[]> => {
      const { devchain, clock } = await startBench(105, { random: createTestRandom(label) });
      for (let i = 0; i < 3; i++) {
        await devchain.control.spend(2);
        clock.advanceS(600);
        await devchain.control.mine(1);
      }
      await devchain.control.reorg(2);
      await devchain.control.mine(1);
      const { chain } = groups(devchain);
      const headers = await chain.getHeaders(0, 1_000, never);
      await devchain.stop();
      return headers.map((header) => toHex(header.hash));
    };
    const first = await run();
    expect(first).toHaveLength(111);
    expect(await run()).toEqual(first);
    expect(await run('other')).not.toEqual(first);
  });

  it('reads heights, headers and transactions, and names what is not there', async () => {
    const { devchain } = await startBench(12);
    const { chain, utxo } = groups(devchain);
    const headers = await chain.getHeaders(5, 100, never);
    expect(headers.map((header) => [header.height, header.confirmations])).toEqual(
      [5, 6, 7, 8, 9, 10, 11, 12].map((h) => [h, 13 - h]),
    );
    expect(await chain.getHeaders(5, 2, never)).toEqual(headers.slice(0, 2));
    expect(await chain.getHeaders(0, 0, never)).toEqual([]);
    for (const [parent, child] of headers.map((header, i) => [header, headers[i + 1]])) {
      if (child !== undefined) expect(child.header.subarray(4, 36)).toEqual(parent?.hash);
    }
    expect(await chain.getSync(never)).toMatchObject({ phase: 'synced', progress: 1, blocks: 12, headers: 12 });
    const state = await chain.getState(never);
    // Thirteen blocks of two expected hashes each.
    expect(toHex(state.chainWork)).toBe((26).toString(16).padStart(64, '0'));
    const nowhere = new Uint8Array(32).fill(9);
    await expect(chain.getHash(13, never)).rejects.toMatchObject({ reason: 'NO_CHAIN_HEIGHT' });
    await expect(chain.getHeaders(13, 1, never)).rejects.toMatchObject({ reason: 'NO_CHAIN_HEIGHT' });
    await expect(chain.getBlock(nowhere, never)).rejects.toMatchObject({ reason: 'BLOCK_NOT_FOUND' });
    await expect(chain.getHeader(nowhere, never)).rejects.toMatchObject({ reason: 'BLOCK_NOT_FOUND' });
    await expect(chain.getTransaction(nowhere, undefined, never)).rejects.toMatchObject({
      reason: 'TRANSACTION_NOT_FOUND',
    });
    await expect(chain.getTransaction(nowhere, state.tip.hash, never)).rejects.toMatchObject({
      reason: 'TRANSACTION_NOT_FOUND',
    });
    await expect(chain.getTransaction(nowhere, nowhere, never)).rejects.toMatchObject({ reason: 'BLOCK_NOT_FOUND' });
    expect(await utxo.getUtxo({ txid: nowhere, index: 0 }, true, never)).toBeUndefined();
    await devchain.stop();
  });

  it('finds a transaction of a stale block by the block', async () => {
    const { devchain } = await startBench(110);
    const { chain, mempool } = groups(devchain);
    const [txid = new Uint8Array(0)] = await devchain.control.spend(1);
    const [stale = new Uint8Array(0)] = await devchain.control.mine(1);
    await devchain.control.reorg(1);
    expect((await chain.getTransaction(txid, stale, never)).block).toEqual({ hash: stale, height: 111 });
    expect((await chain.getTransaction(txid, undefined, never)).block).toBeUndefined();
    expect(await mempool.listTxids(never)).toEqual([txid]);
    await devchain.stop();
  });

  it('answers nothing before its start and after its stop', async () => {
    const devchain = createDevchain({ clock: createSystemClock(), logger: createSilentLogger() });
    const { chain, mempool, mining, utxo, network } = groups(devchain);
    const calls = (): Promise<unknown>[] => [
      devchain.getInfo(never),
      chain.getState(never),
      mempool.listTxids(never),
      mempool.submit(new Uint8Array(0), unbounded, never),
      mining.getTemplate(['segwit'], never),
      mining.submitBlock(new Uint8Array(0), never),
      utxo.getUtxo({ txid: new Uint8Array(32), index: 0 }, false, never),
      network.getStats(never),
      devchain.control.mine(1),
    ];
    for (const call of calls()) await expect(call).rejects.toMatchObject({ reason: 'NODE_UNAVAILABLE' });
    await devchain.start(() => {}, never);
    await devchain.stop();
    await devchain.stop();
    for (const call of calls()) await expect(call).rejects.toMatchObject({ reason: 'NODE_UNAVAILABLE' });
  });

  it('does nothing for a signal that has fired', async () => {
    const { devchain, fresh } = await startBench(105);
    const { chain, mempool, mining, utxo, network } = groups(devchain);
    const block = new Uint8Array(32);
    const gone = AbortSignal.abort();
    const calls = [
      devchain.getInfo(gone),
      chain.getState(gone),
      chain.getBlock(block, gone),
      chain.getHeaders(0, 1, gone),
      mempool.submit(block, unbounded, gone),
      mempool.test([block], unbounded, gone),
      mempool.submitPackage([block], unbounded, gone),
      mining.getTemplate([], gone),
      mining.submitBlock(block, gone),
      utxo.getUtxo({ txid: block, index: 0 }, true, gone),
      network.getPeers(gone),
    ];
    for (const call of calls) await expect(call).rejects.toMatchObject({ reason: 'CANCELLED' });
    // A signal that fires while the call waits for its turn.
    const late = new AbortController();
    const mining1 = devchain.control.mine(3);
    const waiting = mempool.submit(block, unbounded, late.signal);
    late.abort();
    await expect(waiting).rejects.toMatchObject({ reason: 'CANCELLED' });
    await mining1;
    fresh();
    const stopping = new AbortController();
    const many = devchain.control.mine(30_000, undefined, stopping.signal);
    stopping.abort();
    await expect(many).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(fresh().filter((event) => event.type === 'BlockConnected').length).toBeLessThan(30_000);
    await devchain.stop();
  });

  it('mines on a clock, with transactions and fees from the first block on', async () => {
    const events: NodeEvent[] = [];
    const devchain = createDevchain({
      clock: createSystemClock(),
      logger: createSilentLogger(),
      blockIntervalMs: 50,
      activity: { transactionsPerBlock: 2 },
    });
    await devchain.start((event) => events.push(event), never);
    // The blocks of the first start are no news.
    expect(devchain.control.height()).toBe(120);
    expect(events).toEqual([]);
    while (events.filter((event) => event.type === 'BlockConnected').length < 2) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await devchain.stop();
    const told = events.length;
    const connected = events.flatMap((event) => (event.type === 'BlockConnected' ? [event.txCount] : []));
    expect(connected.slice(0, 2)).toEqual([3, 3]);
    expect(
      events.filter((event) => event.type === 'TransactionAdded' && (event.feeSats ?? 0n) > 0n).length,
    ).toBeGreaterThanOrEqual(4);
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(events).toHaveLength(told);
  });

  it('outlives a listener that throws', async () => {
    const errors: LogFields[] = [];
    const logger = { ...createSilentLogger(), error: (fields: LogFields) => void errors.push(fields) };
    const devchain = createDevchain({ clock: createSystemClock(), logger });
    await devchain.start(() => {
      throw new Error('a careless listener');
    }, never);
    await devchain.control.mine(1);
    expect(devchain.control.height()).toBe(1);
    expect(errors.map((fields) => fields.event)).toEqual(['BlockConnected', 'NewTip']);
    await devchain.stop();
  });

  it('spends what has matured and no more', async () => {
    const { devchain } = await startBench(99);
    expect(await devchain.control.spend(1)).toEqual([]);
    await devchain.control.mine(1);
    // Block 1 may be spent in block 101.
    expect(await devchain.control.spend(5)).toHaveLength(1);
    expect(await devchain.control.createSpend({ from: 'p2wpkh' })).toBeUndefined();
    await devchain.control.mine(1);
    expect(await devchain.control.createSpend({ from: 'p2wpkh' })).toBeDefined();
    await devchain.stop();
  });

  it('waits instead of mining blocks that others would refuse for their time', async () => {
    const { devchain, clock } = await startBench(20);
    // Put back, as a clock that was hours ahead may be.
    clock.advanceS(-8_000);
    await expect(devchain.control.mine(1)).rejects.toMatchObject({ reason: 'NODE_BUSY' });
    clock.advanceS(1_000);
    await devchain.control.mine(1);
    await devchain.stop();
  });
});
