import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';

import { HostError } from '../../src/contract/error.js';
import { blockHash } from '../../src/core/bitcoin/header.js';
import { serializeTransaction, txid } from '../../src/core/bitcoin/transaction.js';
import { hashToDisplay, toHex } from '../../src/core/bytes.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createBtcdNode } from '../../src/node/btcd/node.js';
import { type BtcdOptions, btcdOptionsSchema, btcdUrl } from '../../src/node/btcd/options.js';
import type { NodeApi, NodeEvent } from '../../src/node/node-api.js';
import { BtcdDouble, transaction, UNKNOWN_BLOCK } from './btcd-double.js';

/*
 * The adapter before a small double of btcd: where btcd differs from Bitcoin Core, by its sources (rpcserver.go of
 * 0.26.2), and how its WebSocket breaks. The real btcd is met in test/interop.
 */

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const signal = (): AbortSignal => AbortSignal.timeout(30_000);

async function bench(
  options: Partial<BtcdOptions> = {},
): Promise<{ btcd: BtcdDouble; node: NodeApi; events: NodeEvent[]; start(): Promise<void> }> {
  const btcd = new BtcdDouble();
  await btcd.start();
  const node = createBtcdNode(
    {
      url: `http://127.0.0.1:${btcd.port}`,
      user: 'u',
      password: 'p',
      tls: false,
      websocket: true,
      maxCallsInFlight: 2,
      ...options,
    },
    { clock: createSystemClock(), logger: createSilentLogger(), random: () => 0.5 },
  );
  const events: NodeEvent[] = [];
  cleanups.push(
    () => btcd.stop(),
    () => node.stop(),
  );
  return { btcd, node, events, start: () => node.start((event) => events.push(event), signal()) };
}

async function until(what: string, met: () => boolean): Promise<void> {
  for (let waited = 0; !met(); waited += 10) {
    if (waited > 20_000) throw new Error(`${what} did not come`);
    await sleep(10);
  }
}

const reasonOf = async (promise: Promise<unknown>): Promise<string> =>
  await promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof HostError ? error.reason : String(error)),
  );
const connects = (events: readonly NodeEvent[]): number[] =>
  events.flatMap((event) => (event.type === 'BlockConnected' ? [event.height] : []));

describe("btcd's WebSocket", () => {
  /** So long that no look of the clock explains what is told. */
  const rarely = { chainMs: 600_000, chainWhileToldMs: 600_000 };

  it('tells blocks without a poll, and what was missed while it was lost', async () => {
    const { btcd, events, start } = await bench({ intervals: rarely });
    await start();
    await until('the subscription', () => btcd.sockets.size === 1);
    btcd.mine(2);
    await until('two blocks', () => connects(events).length === 2);
    btcd.dropSockets();
    btcd.rollBack(1);
    btcd.mine(3);
    await until('the rest', () => connects(events).length === 5);
    expect(connects(events)).toEqual([1, 2, 2, 3, 4]);
    await until('the reorganisation', () => events.some((event) => event.type === 'ChainReorg'));
    await until('a new subscription', () => btcd.sockets.size === 1);
    btcd.mine(1);
    await until('a block over it', () => connects(events).at(-1) === 5);
  });

  it('does without: the node is polled', async () => {
    const { btcd, events, start } = await bench({ websocket: false, intervals: { chainMs: 50 } });
    await start();
    btcd.mine(2);
    await until('two blocks', () => connects(events).length === 2);
    expect(btcd.sockets.size).toBe(0);
  });

  it('survives a restart of the node', async () => {
    const { btcd, events, start } = await bench({ intervals: { chainMs: 50, chainWhileToldMs: 50 } });
    await start();
    await btcd.stop();
    await until('the loss', () => events.some((event) => event.type === 'NodeConnection' && !event.up));
    btcd.mine(2);
    await btcd.start();
    await until('two blocks', () => connects(events).length === 2);
  });
});

describe("btcd's own ways", () => {
  it('finds the height of a stale block by its ancestors', async () => {
    const { btcd, node, start } = await bench();
    btcd.mine(6);
    const hash = blockHash(btcd.tip.header);
    btcd.rollBack(3);
    btcd.mine(4);
    await start();
    expect(await node.chain.getHeader(hash, signal())).toMatchObject({ height: 6, confirmations: 0 });
    expect((await node.chain.getBlock(hash, signal())).height).toBe(6);
    expect(await reasonOf(node.chain.getHeader(new Uint8Array(32), signal()))).toBe('BLOCK_NOT_FOUND');
    expect(await reasonOf(node.chain.getHash(99, signal()))).toBe('NO_CHAIN_HEIGHT');
  });

  it('sums up the chain work that btcd does not tell', async () => {
    const { btcd, node, start } = await bench();
    btcd.mine(9);
    await start();
    // Two hashes a block at this target, ten blocks.
    expect(BigInt(`0x${toHex((await node.chain.getState(signal())).chainWork)}`)).toBe(20n);
  });

  it('tells a pruned body from an unknown block', async () => {
    const { btcd, node, start } = await bench();
    await start();
    const summary = btcd.methods.getblockchaininfo as () => Record<string, unknown>;
    btcd.methods.getblockchaininfo = () => ({ ...summary(), pruned: true });
    btcd.methods.getblock = () => {
      throw UNKNOWN_BLOCK;
    };
    expect(await reasonOf(node.chain.getBlock(blockHash(btcd.tip.header), signal()))).toBe('BLOCK_PRUNED');
    expect(await reasonOf(node.chain.getBlock(new Uint8Array(32), signal()))).toBe('BLOCK_NOT_FOUND');
  });

  it('says that a block beside the active chain is inconclusive', async () => {
    const { btcd, node } = await bench();
    btcd.methods.submitblock = () => null;
    const { raw } = btcd.tip;
    expect(await node.mining?.submitBlock(raw, signal())).toEqual({ outcome: 'accepted' });
    btcd.mine(1);
    const beside = btcd.tip.raw;
    btcd.rollBack(1);
    expect(await node.mining?.submitBlock(beside, signal())).toEqual({ outcome: 'inconclusive' });
  });

  it('searches a block for a transaction, and asks for the index otherwise', async () => {
    const { btcd, node } = await bench();
    btcd.methods.getrawtransaction = () => {
      throw { code: -5, message: 'The transaction index must be enabled to query the blockchain (specify --txindex)' };
    };
    const id = txid(transaction(1));
    expect(await reasonOf(node.chain.getTransaction(id, undefined, signal()))).toBe('TXINDEX_REQUIRED');
    const found = await node.chain.getTransaction(id, blockHash(btcd.tip.header), signal());
    expect(found).toMatchObject({ block: { height: 0 } });
    const other = node.chain.getTransaction(new Uint8Array(32), blockHash(btcd.tip.header), signal());
    expect(await reasonOf(other)).toBe('TRANSACTION_NOT_FOUND');
  });

  it('bounds fee and burn itself, since sendrawtransaction does not', async () => {
    const { btcd, node } = await bench();
    const plain = transaction(7);
    const id = hashToDisplay(txid(plain));
    let sent = 0;
    btcd.methods.sendrawtransaction = () => {
      sent += 1;
      return id;
    };
    let bound: unknown;
    const allow = { txid: id, wtxid: id, allowed: true, vsize: 61, fees: { base: 1.2e-7 } };
    btcd.methods.testmempoolaccept = (_: never, maxFeeRate: never) => {
      bound = maxFeeRate;
      return [allow];
    };
    const raw = serializeTransaction(plain, { witness: true });
    const options = { maxFeeRateSatPerKvb: 12_345n, maxBurnSats: 0n };
    expect(await node.mempool?.submit(raw, options, signal())).toMatchObject({
      accepted: true,
      feeSats: 12n,
      vsize: 61,
    });
    expect(bound).toBe(0.00012345);
    btcd.methods.testmempoolaccept = () => [{ txid: id, wtxid: id, 'reject-reason': 'max-fee-exceeded' }];
    expect(await reasonOf(node.mempool?.submit(raw, options, signal()) ?? Promise.resolve())).toBe('FEE_TOO_HIGH');
    const burning = serializeTransaction(transaction(8, Uint8Array.of(0x6a), 500n), { witness: true });
    expect(await reasonOf(node.mempool?.submit(burning, options, signal()) ?? Promise.resolve())).toBe('BURN_TOO_HIGH');
    expect(sent).toBe(1);
    btcd.methods.testmempoolaccept = () => [
      { txid: id, wtxid: id, 'reject-reason': 'already have transaction in mempool' },
    ];
    btcd.methods.sendrawtransaction = () => {
      throw { code: -26, message: `TX rejected: already have transaction in mempool ${id}` };
    };
    expect(await node.mempool?.submit(raw, options, signal())).toMatchObject({ accepted: true, alreadyKnown: true });
  });

  it('an output that an unconfirmed transaction spends is spent', async () => {
    const { btcd, node } = await bench();
    const output = {
      bestblock: btcd.tip.id,
      confirmations: 1,
      value: 1e-8,
      scriptPubKey: { hex: '51' },
      coinbase: true,
    };
    btcd.methods.gettxout = () => output;
    btcd.methods.gettxspendingprevout = () => [{ txid: '00', vout: 0, spendingtxid: 'ff' }];
    const outpoint = { txid: new Uint8Array(32), index: 0 };
    expect(await node.utxo?.getUtxo(outpoint, true, signal())).toBeUndefined();
    expect(await node.utxo?.getUtxo(outpoint, false, signal())).toMatchObject({
      valueSats: 1n,
      height: 0,
      coinbase: true,
    });
  });

  it('tells its download by the age of the tip and what most peers claim', async () => {
    const { btcd, node } = await bench();
    const summary = btcd.methods.getblockchaininfo as () => Record<string, unknown>;
    btcd.methods.getblockchaininfo = () => ({ ...summary(), chain: 'mainnet' });
    btcd.methods.getpeerinfo = () => [100, 101, 2_000_000_000].map((height) => ({ startingheight: height }));
    expect(await node.chain.getSync(signal())).toMatchObject({
      phase: 'blocks',
      headers: 101,
      initialBlockDownload: true,
    });
  });
});

describe('the [node] table', () => {
  it('has defaults', () => {
    const options = btcdOptionsSchema.parse({ user: 'u', password: 'p' });
    expect(options).toMatchObject({ tls: true, websocket: true, maxCallsInFlight: 2 });
    expect(btcdUrl(options)).toBe('https://127.0.0.1:8334');
    expect(btcdUrl(btcdOptionsSchema.parse({ user: 'u', password: 'p', tls: false, network: 'regtest' }))).toBe(
      'http://127.0.0.1:18334',
    );
  });

  it.each([{}, { user: 'u' }, { user: 'u', password: 'p', port: 1 }, { user: 'u', password: 'p', tls: 'no' }])(
    'refuses %j',
    (table) => expect(btcdOptionsSchema.safeParse(table).success).toBe(false),
  );
});
