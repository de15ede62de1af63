import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Subscriber } from 'zeromq';
import { parseTransaction, txid } from '../../src/core/bitcoin/transaction.js';
import { hashToDisplay, reversed, toHex } from '../../src/core/bytes.js';
import type { Devchain } from '../../src/node/devchain/devchain.js';
import { type BitcoindDouble, startBitcoindDouble } from '../interop/bitcoind-double.js';
import { createTestDevchain } from './devchain-subject.js';

/** Blocks that let the devchain's first coinbases be spent. */
const MATURE = 105;

interface Answer {
  status: number;
  text: string;
}

describe("the double speaks Bitcoin Core's dialect", () => {
  let dataDir: string;
  let devchain: Devchain;
  let double: BitcoindDouble;

  const ask = async (body: unknown, auth?: string): Promise<Answer> => {
    const credentials = auth ?? (await readFile(double.cookieFile, 'utf8'));
    return await new Promise((resolve, reject) => {
      const sent = httpRequest({
        host: double.host,
        port: double.port,
        method: 'POST',
        auth: credentials,
        agent: false,
      });
      sent.on('error', reject);
      sent.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (part: string) => {
          text += part;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  };
  const call = async (method: string, ...params: unknown[]): Promise<Answer> => await ask({ id: 7, method, params });
  const errorOf = (answer: Answer): number => JSON.parse(answer.text).error.code;
  const resultOf = (answer: Answer): unknown => JSON.parse(answer.text).result;

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'modhost-dialect-'));
    devchain = createTestDevchain();
    const zmqTopics = ['sequence', 'hashblock', 'rawblock', 'hashtx', 'rawtx'] as const;
    double = await startBitcoindDouble({ chain: devchain, dataDir, zmqTopics, rest: true });
    await devchain.control.mine(MATURE);
  });
  afterAll(async () => {
    await double.dispose();
    await rm(dataDir, { recursive: true, force: true });
  });

  it('answers legacy calls with result, error and id', async () => {
    const { status, text } = await call('getblockcount');
    expect(status).toBe(200);
    expect(JSON.parse(text)).toEqual({ result: MATURE, error: null, id: 7 });
  });

  it('maps error codes to HTTP as Core does, and 2.0 calls to 200', async () => {
    expect((await call('getblockhash', 999_999)).status).toBe(500);
    expect((await call('nosuchmethod')).status).toBe(404);
    expect((await ask('{')).status).toBe(500);
    const modern = await ask({ jsonrpc: '2.0', id: 1, method: 'getblockhash', params: [999_999] });
    expect(modern.status).toBe(200);
    expect(JSON.parse(modern.text)).not.toHaveProperty('result');
  });

  it('answers batches in one array, errors in their place', async () => {
    const { status, text } = await ask([
      { id: 'a', method: 'getblockcount' },
      { id: 'b', method: 'getblock', params: ['00'] },
    ]);
    expect(status).toBe(200);
    expect(
      JSON.parse(text).map((one: { id: string; error: { code: number } | null }) => [one.id, one.error?.code]),
    ).toEqual([
      ['a', undefined],
      ['b', -8],
    ]);
  });

  it('takes parameters by name', async () => {
    const { text } = await ask({ id: 1, method: 'getblockhash', params: { height: 0 } });
    expect(JSON.parse(text).result).toBe('0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206');
  });

  it("gives Core's codes for what is not there", async () => {
    const nothing = 'ab'.repeat(32);
    expect(errorOf(await call('getblock', nothing))).toBe(-5);
    expect(errorOf(await call('getblockheader', nothing))).toBe(-5);
    expect(errorOf(await call('getblockhash', 999_999))).toBe(-8);
    expect(errorOf(await call('getrawtransaction', nothing))).toBe(-5);
    expect(errorOf(await call('getmempoolentry', nothing))).toBe(-5);
    expect(errorOf(await call('sendrawtransaction', 'zz'))).toBe(-22);
    expect(errorOf(await call('submitblock', '00'))).toBe(-22);
    expect(errorOf(await call('estimatesmartfee', 0))).toBe(-8);
    expect(errorOf(await call('getblocktemplate', {}))).toBe(-8);
    expect(errorOf(await call('setban', 'nowhere', 'add'))).toBe(-30);
    expect(resultOf(await call('gettxout', nothing, 0))).toBeNull();
  });

  it('prints amounts with eight decimals', async () => {
    const raw = await devchain.control.createSpend({});
    const sent = await call('sendrawtransaction', toHex(raw ?? new Uint8Array()));
    const entry = await call('getmempoolentry', resultOf(sent));
    expect(entry.text).toMatch(/"base":0\.0000\d{4}[,}]/);
    expect((await call('getnetworkinfo')).text).toContain('"relayfee":0.00001000');
    await devchain.control.mine(1);
  });

  it('keeps a cookie that only its owner reads, and changes it at every start', async () => {
    const before = await readFile(double.cookieFile, 'utf8');
    expect(before).toMatch(/^__cookie__:[0-9a-f]{64}$/);
    expect((await stat(double.cookieFile)).mode & 0o777).toBe(0o600);
    await double.stop();
    await expect(readFile(double.cookieFile)).rejects.toThrow();
    await double.start();
    expect((await ask({ id: 1, method: 'uptime' }, before)).status).toBe(401);
    expect((await call('uptime')).status).toBe(200);
  });

  it('serves blocks over REST, without credentials', async () => {
    const hash = hashToDisplay((await devchain.chain.getState(AbortSignal.timeout(5_000))).tip.hash);
    const answer = await fetch(`${double.url}/rest/block/${hash}.bin`);
    expect(answer.status).toBe(200);
    expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(80);
    expect((await fetch(`${double.url}/rest/block/${'ab'.repeat(32)}.bin`)).status).toBe(404);
    expect((await fetch(`${double.url}/rest/block/xyz.bin`)).status).toBe(400);
  });

  it('publishes frames in the byte orders and counters of doc/zmq.md', async () => {
    const socket = new Subscriber({ linger: 0 });
    socket.connect(double.zmqAddress);
    socket.subscribe();
    // Subscriptions take a moment to arrive; what was told before is not repeated.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const raw = (await devchain.control.createSpend({})) ?? new Uint8Array();
    const id = txid(parseTransaction(raw));
    await call('sendrawtransaction', toHex(raw));
    const [hash = new Uint8Array()] = await devchain.control.mine(1);
    await double.flushed();
    const frames: { topic: string; body: Buffer; count: number }[] = [];
    for await (const [topic, body, counter] of socket) {
      frames.push({
        topic: String(topic),
        body: body as Buffer,
        count: (counter as Buffer).readUInt32LE(),
      });
      if (topic?.toString() === 'rawblock') break;
    }
    socket.close();
    const of = (topic: string): Buffer[] => frames.filter((frame) => frame.topic === topic).map((frame) => frame.body);
    expect(of('sequence')[0]?.subarray(0, 33).toString('hex')).toBe(`${toHex(reversed(id))}41`);
    expect(of('sequence')[0]?.byteLength).toBe(41);
    expect(of('sequence')[1]?.toString('hex')).toBe(`${toHex(reversed(hash))}43`);
    expect(of('hashblock')[0]?.toString('hex')).toBe(hashToDisplay(hash));
    expect(of('rawtx').some((body) => body.equals(raw))).toBe(true);
    // The transaction again with its block, and the coinbase.
    expect(of('hashtx').filter((body) => body.equals(reversed(id))).length).toBe(2);
    for (const topic of ['sequence', 'hashtx']) {
      const counts = frames.filter((frame) => frame.topic === topic).map((frame) => frame.count);
      expect(counts).toEqual(counts.map((_, i) => (counts[0] ?? 0) + i));
    }
  });

  it('shows faults on demand', async () => {
    const warm = double.warmUp();
    const cold = await call('getblockcount');
    expect([cold.status, errorOf(cold)]).toEqual([500, -28]);
    expect((await fetch(`${double.url}/rest/chaininfo.json`)).status).toBe(503);
    warm();
    double.refuse(1);
    expect(await call('getblockcount')).toEqual({ status: 503, text: 'Work queue depth exceeded' });
    double.reset(1);
    await expect(call('getblockcount')).rejects.toThrow();
    double.settings.prunedBelow = 50;
    const pruned = resultOf(await call('getblockhash', 49));
    expect(errorOf(await call('getblock', pruned, 0))).toBe(-1);
    expect((await call('getblockheader', pruned)).status).toBe(200);
    double.settings.prunedBelow = 0;
    expect((await call('getblockcount')).status).toBe(200);
  });
});
