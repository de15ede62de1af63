import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { HostError } from '../../../src/contract/error.js';
import { FRONT_DOOR_CALLER } from '../../../src/host/front-door.js';
import { createRpcClient } from '../../../src/node/jsonrpc/rpc-client.js';
import type { RawAnswer } from '../../../src/node/node-api.js';
import { createBitcoindBench } from '../../node/bitcoind-subject.js';
import { createDoorRig } from './rig.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});
const never = new AbortController().signal;

/** A node that says the same to everything, and remembers what it was asked. */
async function nodeThatSays(status: number, body: string | Buffer) {
  const asked: string[] = [];
  const server: Server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    asked.push(text);
    response.writeHead(status).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const rpc = createRpcClient({ url, credentials: { kind: 'none' }, batching: true, maxSockets: 2 }, Math.random);
  ends.push(
    () => server.close(),
    () => rpc.close(),
  );
  return { rpc, asked };
}
const shown = (answer: RawAnswer): object =>
  'result' in answer
    ? { result: Buffer.from(answer.result).toString('latin1') }
    : { error: Buffer.from(answer.error).toString('latin1'), code: answer.code };

describe('what is cut out of a node’s answer', () => {
  const odd = '{"a":0.10000000,"b":1e-8,"c":[21000000.00000000, 12345678901234567890 ],"d":"\\u0061\\/","e":-0}';
  it.each<[string, string, object | string]>([
    ['amounts', `{"result":${odd},"error":null,"id":1}\n`, { result: odd }],
    ['a result that is null', '{"result":null,"error":null,"id":1}', { result: 'null' }],
    ['2.0', `{"jsonrpc":"2.0","result":${odd},"id":1}`, { result: odd }],
    ['white space', ' { "error" : null , "result" : 1.50 } ', { result: '1.50' }],
    ['bytes that are no UTF-8', '{"result":"\xff\xfe"}', { result: '"\xff\xfe"' }],
    [
      'an error',
      '{"result":null,"error":{"code":-5,"message":"no","data":0.10}}',
      { error: '{"code":-5,"message":"no","data":0.10}', code: -5 },
    ],
    ['an error without a code', '{"error":"no"}', { error: '"no"', code: -32603 }],
    ['a code that is none', '{"error":{"code":1e400}}', { error: '{"code":1e400}', code: -32603 }],
    ['neither', '{"id":1}', 'NODE_ERROR'],
    ['no JSON', '{"result":1', 'NODE_ERROR'],
    ['a list', '[{"result":1}]', 'NODE_ERROR'],
    ['a page', '<html>', 'NODE_ERROR'],
    ['nothing', '', 'NODE_UNAVAILABLE'],
  ])('%s', async (_name, body, expected) => {
    const { rpc } = await nodeThatSays(200, Buffer.from(body, 'latin1'));
    const became = await rpc.raw.call('m', '', never).then(shown, (error: unknown) => HostError.from(error).reason);
    expect(became).toEqual(expected);
  });

  it('sends parameters as they are, once, whatever becomes of it', async () => {
    const { rpc, asked } = await nodeThatSays(500, '{"result":null,"error":{"code":-1,"message":"x"},"id":1}');
    await rpc.raw.call('sendtoaddress', '[ "x", 0.10000000 ]', never);
    expect(asked).toEqual(['{"jsonrpc":"1.0","id":1,"method":"sendtoaddress","params":[ "x", 0.10000000 ]}']);
  });
});

describe('pass-through', () => {
  it('hands on what is named and nothing else, byte for byte, within the node’s budget', async () => {
    const bench = await createBitcoindBench({});
    ends.push(() => bench.dispose());
    const passthrough = ['getblockchaininfo', 'getblock', 'getmempoolinfo', 'getblockhash', 'analyzepsbt'];
    const rig = await createDoorRig(['probe'], { passthrough }, { node: bench.node });
    ends.push(() => rig.dispose());
    await bench.devchain.control.mine(3);
    const direct = async (body: string): Promise<string> => {
      const auth = Buffer.from(readFileSync(bench.double.cookieFile)).toString('base64');
      const answer = await fetch(bench.double.url, {
        method: 'POST',
        headers: { authorization: `Basic ${auth}` },
        body,
      });
      return answer.text();
    };
    const hash = JSON.parse(await direct('{"id":1,"method":"getblockhash","params":[2]}')).result as string;
    for (const call of [
      '"method":"getblockchaininfo"',
      `"method":"getblock","params":["${hash}",2]`,
      '"method":"getmempoolinfo","params":[]',
      '"method":"getblockhash","params":[99999]',
      '"method":"getblockhash","params":{"height":1}',
    ]) {
      const body = `{"id":1,${call}}`;
      expect((await rig.post(body)).body.trim()).toBe((await direct(body)).trim());
    }
    const counted = [...bench.double.calls].map(([method]) => method);
    for (const method of [
      'stop',
      'sendtoaddress',
      'dumpprivkey',
      'sendrawtransaction',
      'getpeerinfo',
      'getblockcount',
    ]) {
      const { error } = await rig.call(method);
      expect([method, error?.code]).toEqual([method, -32601]);
    }
    expect(counted).not.toContain('stop');
    expect(bench.double.calls.get('sendtoaddress')).toBeUndefined();
    const status = await rig.host.control.status(never);
    expect(status.host?.rpcPassthrough).toEqual([...passthrough].sort());
    expect(status.host?.warnings.filter(({ code }) => code === 'node_methods_handed_on')).toEqual([]);
    expect((await rig.call('help')).result).toContain('== Handed on to the node ==\nanalyzepsbt\ngetblock\n');
    expect(FRONT_DOOR_CALLER).toMatch(/^@/);
  });

  it('is told of in a warning where it acts on the node or its wallet', async () => {
    const rig = await createDoorRig(['probe'], { passthrough: ['sendtoaddress', 'getblock'] });
    ends.push(() => rig.dispose());
    const { host } = await rig.host.control.status(never);
    const [warning] = host?.warnings.filter(({ code }) => code === 'node_methods_handed_on') ?? [];
    expect(warning?.message).toContain('sendtoaddress');
    expect(warning?.message).not.toContain('getblock');
    // the devchain has no JSON-RPC
    expect((await rig.call('getblock')).error).toMatchObject({ code: -32601, data: { reason: 'NODE_LACKS_FEATURE' } });
  });
});
