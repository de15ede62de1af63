import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toHex } from '../../../src/core/bytes.js';
import { createSystemClock } from '../../../src/core/clock.js';
import { jsonMembers, jsonSpan } from '../../../src/core/json-text.js';
import { createSilentLogger } from '../../../src/core/logger.js';
import { createBtcdNode } from '../../../src/node/btcd/node.js';
import { createDoorRig, type DoorRig } from '../../admin/front-door/rig.js';
import { requireToolchain } from '../../toolchain.js';
import { type Btcd, btcdAvailable, startBtcd } from '../btcd.js';
import { createBtcdHands } from '../btcd-subject.js';
import { createWallet } from '../wallet.js';
import { type ClientCall, clientsPresence, runClient } from './clients.js';

const btcdTool = requireToolchain('btcd', await btcdAvailable());
const clientsTool = requireToolchain('Bitcoin RPC clients', await clientsPresence());

/** What the operator of this test hands on. */
const PASSTHROUGH = ['getblockchaininfo', 'getblockcount', 'getblockhash', 'getblock', 'getrawtransaction', 'gettxout'];
/** Calls in one exchange. */
const BATCH: readonly ClientCall[] = [['getblockcount'], ['getblockhash', 0], ['poolstats', 7]];
/** What nobody hands on here. */
const REFUSED: readonly ClientCall[] = [['sendtoaddress', 'x', 1], ['dumpprivkey', 'x'], ['stop'], ['generate', 1]];

describe.skipIf(btcdTool.skip || clientsTool.skip)('Bitcoin RPC clients, unchanged, at the front door', () => {
  let dir: string;
  let btcd: Btcd;
  let rig: DoorRig;
  let door: { port: number; user: string; password: string };
  let txid: string;
  let blockHash: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mc-'));
    const wallet = createWallet(new Uint8Array(32).fill(13));
    btcd = await startBtcd({ dir, tls: true, miningAddress: wallet.address });
    const hands = createBtcdHands(btcd, wallet);
    await hands.mine(101);
    await btcd.rpc('sendrawtransaction', [toHex((await hands.spend()).raw)]).catch(() => {});
    await hands.mine(1);
    blockHash = await btcd.rpc<string>('getbestblockhash');
    txid = (await btcd.rpc<{ tx: string[] }>('getblock', [blockHash, 1])).tx[1] ?? '';
    const node = createBtcdNode(
      {
        ...{ url: btcd.url, user: btcd.user, password: btcd.pass, tls: true, tlsCa: btcd.certFile },
        ...{ network: 'regtest', websocket: false, maxCallsInFlight: 2 },
      },
      { clock: createSystemClock(), logger: createSilentLogger(), random: Math.random },
    );
    rig = await createDoorRig(['pool'], { passthrough: PASSTHROUGH }, { node });
    const module = await rig.module('pool', {
      rpc: ({ paramsJson }) => ({ resultJson: `{"asked":${paramsJson || 'null'},"fee":0.00001000}` }),
    });
    await module.clients.rpc.registerEndpoint({ method: 'poolstats', description: 'Tells of the pool.', timeoutMs: 0 });
    const [user = '', password = ''] = readFileSync(rig.cookieFile, 'utf8').split(':');
    door = { port: rig.port, user, password };
  });
  afterAll(async () => {
    await rig?.dispose();
    await btcd?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** The body that curl gets for a request; the password is read from a file, not from its arguments. */
  const curl = async (at: { url: string; auth: string; ca?: string | undefined }, body: string): Promise<string> => {
    const config = join(dir, 'curlrc');
    writeFileSync(config, `user = "${at.auth}"\n`, { mode: 0o600 });
    const ca = at.ca === undefined ? [] : ['--cacert', at.ca];
    const args = ['-sS', '-K', config, ...ca, '-H', 'content-type: text/plain;', '--data-binary', body, at.url];
    return (await promisify(execFile)('curl', args, { maxBuffer: 64 * 1024 * 1024 })).stdout;
  };
  const member = (text: string, name: string): string => {
    const span = new Map(jsonMembers(text, jsonSpan(text))).get(name);
    return span === undefined ? 'absent' : text.slice(span.start, span.end);
  };
  const atDoor = (body: string) =>
    curl({ url: `http://localhost:${door.port}/`, auth: `${door.user}:${door.password}` }, body);
  const atNode = (body: string) => curl({ url: btcd.url, auth: `${btcd.user}:${btcd.pass}`, ca: btcd.certFile }, body);

  it('curl gets batches in the dialect of each call: the older one has both members, as python-bitcoinrpc wants them', async () => {
    const count = await btcd.rpc<number>('getblockcount');
    expect(
      await atDoor(
        '[{"version":"1.1","id":1,"method":"getblockcount"},{"jsonrpc":"2.0","id":2,"method":"getblockcount"},' +
          '{"jsonrpc":"2.0","method":"getblockcount"},{"jsonrpc":"1.0","id":3,"method":"stop"}]',
      ),
    ).toMatch(
      new RegExp(
        `^\\[\\{"result":${count},"error":null,"id":1\\},\\{"jsonrpc":"2.0","result":${count},"id":2\\},` +
          '\\{"result":null,"error":\\{"code":-32601,[^}]*\\},"id":3\\}\\]\n$',
      ),
    );
  });

  it('curl gets of both the same bytes, amounts and failures included', async () => {
    const calls = [
      '"method":"getblockchaininfo"',
      '"method":"getblockcount","params":[]',
      `"method":"getblock","params":["${blockHash}",2]`,
      `"method":"getblock","params":[ "${blockHash}" , 0 ]`,
      `"method":"getrawtransaction","params":["${txid}",1]`,
      `"method":"gettxout","params":["${txid}",0]`,
      `"method":"gettxout","params":["${txid}",99]`,
      '"method":"getblockhash","params":[999999]',
      '"method":"getblockhash","params":["x"]',
      `"method":"getrawtransaction","params":["${'00'.repeat(32)}",1]`,
    ];
    for (const call of calls) {
      const body = `{"jsonrpc":"1.0","id":"curl",${call}}`;
      const [ours, theirs] = [await atDoor(body), await atNode(body)];
      expect([call, member(ours, 'result')]).toEqual([call, member(theirs, 'result')]);
      expect([call, member(ours, 'error')]).toEqual([call, member(theirs, 'error')]);
      expect(member(ours, 'id')).toBe('"curl"');
    }
    const amounts = member(await atDoor(`{"id":1,"method":"getrawtransaction","params":["${txid}",1]}`), 'result');
    expect(amounts).toMatch(/"value":[0-9]+\.[0-9]+/);
  });

  for (const client of ['npm', 'pypi'] as const) {
    it(`${client}: what is handed on, a module's method, a batch, and what is refused`, async () => {
      const count = await btcd.rpc<number>('getblockcount');
      const genesis = await btcd.rpc<string>('getblockhash', [0]);
      const [first, block, pool, list, many, ...refused] = await runClient(client, door, [
        ['getblockcount'],
        ['getblock', blockHash, 1],
        ['poolstats', 'all', 3],
        ['listmodules'],
        { batch: BATCH },
        ...REFUSED,
        ['getblockhash', 999_999],
      ]);
      expect(first).toEqual({ result: count });
      expect(block).toMatchObject({ result: { hash: blockHash } });
      const fee = client === 'npm' ? 0.00001 : '0.00001000';
      expect(pool).toEqual({ result: { asked: ['all', 3], fee } });
      expect(list).toMatchObject({ result: [{ name: 'pool', state: 'RUNNING' }] });
      // python-bitcoinrpc 1.0 says "jsonrpc": "2.0" in its batches and then takes `error` of every answer, which in that
      // dialect a good one has neither here nor at Bitcoin Core 28 and newer (src/rpc/request.cpp, JSONRPCReplyObj)
      const batched = [{ result: count }, { result: genesis }, { result: { asked: [7] } }];
      expect(many).toMatchObject(client === 'npm' ? batched : { missing: 'error' });
      expect(refused.slice(0, -1)).toEqual(
        REFUSED.map(() => ({ error: { code: -32601, message: expect.stringContaining('Method not found') } })),
      );
      expect(refused.at(-1)).toMatchObject({ error: { code: expect.any(Number) } });
      expect(await btcd.rpc<number>('getblockcount')).toBe(count);
    });

    it(`${client}: a failure within a batch is told`, async () => {
      const [failed] = await runClient(client, door, [{ batch: [['sendtoaddress', 'x', 1], ['getblockcount']] }]);
      const error = { code: -32601, message: expect.stringContaining('Method not found') };
      expect(failed).toMatchObject(client === 'npm' ? [{ error }, { result: expect.any(Number) }] : { error });
    });

    it(`${client}: a wrong password is told`, async () => {
      const work = runClient(client, { ...door, password: 'wrong' }, [['getblockcount']]);
      const told = await work.then(
        ([outcome]) => JSON.stringify(outcome),
        (error: Error) => error.message,
      );
      expect(told).toMatch(/401|Unauthorized|password/);
    });
  }
});
