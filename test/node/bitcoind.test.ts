import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';

import { HostError } from '../../src/contract/error.js';
import { equalBytes, hashToDisplay } from '../../src/core/bytes.js';
import { bitcoindOptionsSchema, resolveBitcoind } from '../../src/node/bitcoind/options.js';
import { chooseTopics } from '../../src/node/bitcoind/zmq-feed.js';
import type { NodeEvent } from '../../src/node/node-api.js';
import { type BitcoindBench, createBitcoindBench } from './bitcoind-subject.js';

/*
 * The adapter before the double of Bitcoin Core: what nodes do wrong, and what only some of them have. What every
 * adapter must do is held by node-api-suite.test.ts.
 */

const benches: BitcoindBench[] = [];
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.dispose();
});

async function bench(...setup: Parameters<typeof createBitcoindBench>): Promise<BitcoindBench> {
  const made = await createBitcoindBench(...setup);
  benches.push(made);
  return made;
}

const signal = (): AbortSignal => AbortSignal.timeout(30_000);

/** Waits for something that the node tells in its own time. */
async function until(what: string, met: () => boolean): Promise<void> {
  for (let waited = 0; !met(); waited += 10) {
    if (waited > 20_000) throw new Error(`${what} did not come`);
    await sleep(10);
  }
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof HostError ? error.reason : String(error)),
  );
}

const chainOf = (events: readonly NodeEvent[]): string[] =>
  events.flatMap((event) => {
    if (event.type === 'BlockConnected') return [`+${hashToDisplay(event.hash)}`];
    return event.type === 'BlockDisconnected' ? [`-${hashToDisplay(event.hash)}`] : [];
  });

describe('C165: Bitcoin Core in its bad moments', () => {
  it('is waited for while it warms up, and told as NODE_SYNCING meanwhile', async () => {
    const { node, double } = await bench({});
    const warm = double.warmUp();
    const started = node.start(() => {}, signal());
    expect(await reasonOf(node.chain.getState(signal()))).toBe('NODE_SYNCING');
    warm();
    await started;
    expect((await node.chain.getState(signal())).tip.height).toBe(0);
  });

  it('rides out a full work queue, a reset connection and a new cookie', async () => {
    const { node, double } = await bench({});
    await node.start(() => {}, signal());
    double.refuse(2);
    expect((await node.chain.getState(signal())).tip.height).toBe(0);
    await double.stop();
    expect(await reasonOf(node.chain.getState(signal()))).toBe('NODE_UNAVAILABLE');
    await double.start();
    expect((await node.chain.getState(signal())).tip.height).toBe(0);
  });

  it('a node that is not there fails the start with NODE_UNAVAILABLE', async () => {
    const { node, double } = await bench({});
    await double.stop();
    expect(await reasonOf(node.start(() => {}, signal()))).toBe('NODE_UNAVAILABLE');
  });

  it('a node of another network fails the start with BAD_CONFIG', async () => {
    const { node } = await bench({}, { network: 'main' });
    expect(await reasonOf(node.start(() => {}, signal()))).toBe('BAD_CONFIG');
  });

  it('a wrong password fails the start with NODE_AUTH', async () => {
    const { node } = await bench({}, { user: 'nobody', password: 'nothing' });
    expect(await reasonOf(node.start(() => {}, signal()))).toBe('NODE_AUTH');
  });

  it('a server that is no node fails the start with NODE_ERROR', async () => {
    const server = createServer((_, response) => response.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const { node } = await bench({}, { url: `http://127.0.0.1:${port}`, user: 'u', password: 'p' });
    expect(await reasonOf(node.start(() => {}, signal()))).toBe('NODE_ERROR');
    server.closeAllConnections();
    server.close();
  });
});

describe('what a node does not have', () => {
  it('a pruned body is BLOCK_PRUNED, its header is there, and it is still told when connected', async () => {
    const { node, double, devchain } = await bench({ rest: true });
    await node.start(() => {}, signal());
    await devchain.control.mine(10);
    double.settings.prunedBelow = 5;
    const hash = await node.chain.getHash(2, signal());
    expect(await reasonOf(node.chain.getBlock(hash, signal()))).toBe('BLOCK_PRUNED');
    expect((await node.chain.getHeader(hash, signal())).height).toBe(2);
    expect((await node.getInfo(signal())).pruned).toBe(true);
  });

  it('without the index a confirmed transaction is TXINDEX_REQUIRED, and found with its block', async () => {
    const { node, devchain } = await bench({ txindex: false });
    await node.start(() => {}, signal());
    const [block] = await devchain.control.mine(1);
    if (block === undefined) throw new Error('nothing mined');
    const { raw } = await node.chain.getBlock(block, signal());
    const { iterateBlockTransactions } = await import('../../src/core/bitcoin/block.js');
    const { txid } = await import('../../src/core/bitcoin/transaction.js');
    const [coinbase] = [...iterateBlockTransactions(raw)];
    if (coinbase === undefined) throw new Error('no coinbase');
    const id = txid(coinbase.transaction);
    expect(await reasonOf(node.chain.getTransaction(id, undefined, signal()))).toBe('TXINDEX_REQUIRED');
    const found = await node.chain.getTransaction(id, block, signal());
    expect(equalBytes(found.raw, coinbase.raw)).toBe(true);
  });

  it('in its initial download only progress is told, and no template is given', async () => {
    const { node, double, devchain } = await bench({ zmqTopics: [] }, { longPoll: false });
    double.settings.initialBlockDownload = true;
    const events: NodeEvent[] = [];
    await node.start((event) => events.push(event), signal());
    await devchain.control.mine(3);
    await until('progress', () => events.some((event) => event.type === 'SyncProgress' && event.now.blocks === 3));
    expect(chainOf(events)).toEqual([]);
    double.settings.initialBlockDownload = false;
    await until('the blocks', () => chainOf(events).length === 3);
    expect(events.some((event) => event.type === 'SyncChanged' && event.now.phase === 'synced')).toBe(true);
  });

  it('reads blocks over REST where it is on, and finds out anew after a restart', async () => {
    const { node, double, devchain } = await bench({ rest: true });
    await node.start(() => {}, signal());
    const [first] = await devchain.control.mine(1);
    if (first === undefined) throw new Error('nothing mined');
    const before = double.calls.get('getblock') ?? 0;
    const overRest = await node.chain.getBlock(first, signal());
    const followed = double.calls.get('getblock') ?? 0;
    // The follower may have read the new block by RPC; the module's read did not.
    expect(followed - before).toBeLessThanOrEqual(1);
    double.settings.rest = false;
    const overRpc = await node.chain.getBlock(first, signal());
    expect(equalBytes(overRest.raw, overRpc.raw)).toBe(true);
  });
});

describe('ZMQ', () => {
  it('lost frames cost no block and no transaction', async () => {
    const { node, double, devchain } = await bench({ zmqTopics: ['sequence'] });
    const events: NodeEvent[] = [];
    await node.start((event) => events.push(event), signal());
    await devchain.control.mine(105);
    await until('the blocks', () => chainOf(events).length === 105);
    double.loseFrames(3);
    const lost = await devchain.control.mine(2);
    const spend = await devchain.control.createSpend({});
    if (spend === undefined) throw new Error('no coin');
    await devchain.mempool?.submit(spend, { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n }, signal());
    const seen = await devchain.control.mine(1);
    await until('all blocks', () => chainOf(events).length === 108);
    expect(chainOf(events).slice(105)).toEqual([...lost, ...seen].map((hash) => `+${hashToDisplay(hash)}`));
  });

  it('a transaction is told once, and its confirmation as such', async () => {
    const { node, devchain } = await bench({ zmqTopics: ['sequence'] });
    const events: NodeEvent[] = [];
    await node.start((event) => events.push(event), signal());
    await devchain.control.mine(105);
    const spend = await devchain.control.createSpend({});
    if (spend === undefined) throw new Error('no coin');
    const verdict = await node.mempool?.submit(spend, { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n }, signal());
    expect(verdict).toMatchObject({ accepted: true, alreadyKnown: false });
    const added = (): NodeEvent[] => events.filter((event) => event.type === 'TransactionAdded');
    await until('the transaction', () => added().length === 1);
    await devchain.control.mine(1);
    const removed = (): NodeEvent[] => events.filter((event) => event.type === 'TransactionRemoved');
    await until('its confirmation', () => removed().length === 1);
    expect(removed()).toEqual([expect.objectContaining({ reason: 'confirmed', mempoolCount: 0 })]);
    await sleep(300);
    expect(added().length).toBe(1);
  });

  it('chooses sequence alone, else the tip and transactions as hints', () => {
    const offer = (...topics: string[]) =>
      topics.map((topic) => ({ topic, address: `tcp://127.0.0.1:${topic.length}` }));
    const names = (...topics: string[]) => chooseTopics(offer(...topics)).map((item) => item.topic);
    expect(names('rawtx', 'hashblock', 'sequence')).toEqual(['sequence']);
    expect(names('rawblock', 'rawtx', 'hashblock')).toEqual(['hashblock', 'rawtx']);
    expect(names('rawtx', 'hashtx')).toEqual(['hashtx']);
    expect(names('rawblock')).toEqual([]);
  });
});

describe('the [node] table', () => {
  it('has defaults for a mainnet node of this user', () => {
    const options = bitcoindOptionsSchema.parse({});
    expect(options).toMatchObject({ zmq: 'auto', rest: true, longPoll: true, maxCallsInFlight: 2 });
    const { url, credentials } = resolveBitcoind(options);
    expect(url).toBe('http://127.0.0.1:8332');
    expect(credentials).toMatchObject({ kind: 'cookie', path: expect.stringMatching(/[/\\]\.cookie$/) });
  });

  it('knows the ports and cookies of other networks', () => {
    const options = bitcoindOptionsSchema.parse({ network: 'signet', data_dir: '/d' });
    expect(resolveBitcoind(options)).toEqual({
      url: 'http://127.0.0.1:38332',
      credentials: { kind: 'cookie', path: '/d/signet/.cookie' },
    });
  });

  it.each([
    { user: 'only' },
    { password: 'only' },
    { zmq: 'tcp://127.0.0.1:1' },
    { zmq: { sequence: '127.0.0.1:1' } },
    { max_calls_in_flight: 0 },
    { poll_ms: 1 },
    { unknown: 1 },
  ])('refuses %j', (table) => expect(bitcoindOptionsSchema.safeParse(table).success).toBe(false));
});
