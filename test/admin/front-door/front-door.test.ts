import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InvocationFailureKind } from '../../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../../../src/contract/error.js';
import { rpcauthOf } from '../../../src/node/bitcoind/rpcauth.js';
import { InvocationError } from '../../../src/sdk/invocations.js';
import { cleanUp, devchain, directory, hostIn } from '../../host/host-rig.js';
import { createDoorRig, type DoorRig } from './rig.js';

let rig: DoorRig;
const alice = rpcauthOf('alice', 'secret: with:colons', new Uint8Array(16).fill(3));
let cancelled = 0;
const asked: [string, string][] = [];

beforeAll(async () => {
  rig = await createDoorRig(['echo', 'other'], { rpcauth: [alice] });
  const module = await rig.module('echo', {
    async rpc({ method, paramsJson }, { signal }) {
      asked.push([method, paramsJson]);
      switch (method) {
        case 'echo.hang':
          return new Promise((resolve) => {
            signal.addEventListener('abort', () => {
              cancelled += 1;
              resolve({ resultJson: 'null' });
            });
          });
        case 'echo.broken':
          return { resultJson: "{'no': json}" };
        case 'echo.own_code':
          throw new InvocationError(InvocationFailureKind.FAILED, 'out of eggs', {
            code: 42,
            dataJson: '{"left":0.00}',
          });
        case 'echo.bad_params':
          throw new InvocationError(InvocationFailureKind.INVALID_PARAMS, 'a number, please', { code: 42 });
        case 'echo.busy':
          throw new InvocationError(InvocationFailureKind.BUSY, 'later', { retryAfterMs: 77 });
        default:
          return { resultJson: paramsJson === '' ? '"nothing"' : paramsJson };
      }
    },
  });
  const names = [
    'echo.echo',
    'echo.hang',
    'echo.broken',
    'echo.own_code',
    'echo.bad_params',
    'echo.busy',
    'plain_name',
  ];
  for (const method of names) {
    await module.clients.rpc.registerEndpoint({ method, description: `Does ${method}.`, timeoutMs: 5_000 });
  }
});
afterAll(() => rig.dispose());

describe('both dialects', () => {
  it('answers 2.0 with status 200 and one of result and error', async () => {
    const good = await rig.post('{"jsonrpc":"2.0","id":"a","method":"echo.echo","params":[1]}');
    expect([good.status, good.body]).toEqual([200, '{"jsonrpc":"2.0","result":[1],"id":"a"}\n']);
    const bad = await rig.post('{"jsonrpc":"2.0","id":7,"method":"nope"}');
    expect(bad.status).toBe(200);
    expect(JSON.parse(bad.body)).toEqual({
      jsonrpc: '2.0',
      error: { code: -32601, message: 'Method not found' },
      id: 7,
    });
  });

  it('answers the older ones with result, error and id, and a status of their own', async () => {
    for (const version of ['', '"jsonrpc":"1.0",', '"jsonrpc":null,', '"version":"1.1",', '"version":"2.0",']) {
      const good = await rig.post(`{${version}"id":1,"method":"echo.echo"}`);
      expect([good.status, good.body]).toEqual([200, '{"result":"nothing","error":null,"id":1}\n']);
      const unknown = await rig.post(`{${version}"method":"nope"}`);
      expect(unknown.status).toBe(404);
      expect(unknown.body).toBe('{"result":null,"error":{"code":-32601,"message":"Method not found"}}\n');
      expect((await rig.post(`{${version}"id":1,"method":"echo.own_code"}`)).status).toBe(500);
    }
  });

  it('hands parameters, results and data on byte for byte', async () => {
    const odd = '[ 0.10000000 , 1e-8,21000000.00000000,12345678901234567890,-0,"\\u00e9é\\/",{"b":1,"a":{}, "b":2}]';
    const { body } = await rig.post(`{"jsonrpc":"2.0","id":1e0,"method":"echo.echo","params":${odd}}`);
    expect(body).toBe(`{"jsonrpc":"2.0","result":${odd},"id":1e0}\n`);
    expect(asked.at(-1)).toEqual(['echo.echo', odd]);
    const { body: failed } = await rig.post('{"jsonrpc":"2.0","id":1,"method":"echo.own_code"}');
    expect(failed).toBe('{"jsonrpc":"2.0","error":{"code":42,"message":"out of eggs","data":{"left":0.00}},"id":1}\n');
  });

  it('tells of calls that break the protocol in their dialect, and with a status in either', async () => {
    const rows: [body: string, status: number, answer: string][] = [
      ['{"jsonrpc":"2.0","id":1}', 400, '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Missing method"},"id":1}'],
      ['{"jsonrpc":"2.0"}', 400, '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Missing method"}}'],
      [
        '{"jsonrpc":"2.0","id":1,"method":7}',
        400,
        '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Method must be a string"},"id":1}',
      ],
      [
        '{"jsonrpc":"2.0","id":1,"method":"echo.echo","params":1}',
        400,
        '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Params must be an array or object"},"id":1}',
      ],
      [
        '{"jsonrpc":2,"method":"echo.echo"}',
        400,
        '{"result":null,"error":{"code":-32600,"message":"jsonrpc field must be a string"}}',
      ],
      [
        '{"jsonrpc":"3.0","method":"echo.echo"}',
        400,
        '{"result":null,"error":{"code":-32600,"message":"JSON-RPC version not supported"}}',
      ],
      ['this is bad', 500, '{"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}'],
      ['7', 500, '{"result":null,"error":{"code":-32700,"message":"Top-level object parse error"},"id":null}'],
      // not told: nobody waits
      ['[{"jsonrpc":"2.0"}]', 204, ''],
      [
        '[{"jsonrpc":"2.0","id":2},{"id":3}]',
        200,
        '[{"jsonrpc":"2.0","error":{"code":-32600,"message":"Missing method"},"id":2},' +
          '{"result":null,"error":{"code":-32600,"message":"Missing method"},"id":3}]',
      ],
    ];
    for (const [body, status, answer] of rows) {
      const said = await rig.post(body);
      expect([body, said.status, said.body.trimEnd()]).toEqual([body, status, answer]);
    }
  });

  it('echoes an id of any kind, null too: a call with one is no notification', async () => {
    for (const id of ['null', '"a"', '1.0', '{"a":[1 ]}', '[]', 'true']) {
      const said = await rig.post(`{"jsonrpc":"2.0","id":${id},"method":"echo.echo","params":[1]}`);
      expect([said.status, said.body]).toEqual([200, `{"jsonrpc":"2.0","result":[1],"id":${id}}\n`]);
    }
  });

  it('makes a notification and says nothing of it, failed or not', async () => {
    const before = asked.length;
    for (const method of ['echo.echo', 'echo.own_code', 'nope']) {
      const said = await rig.post(`{"jsonrpc":"2.0","method":"${method}"}`);
      expect([said.status, said.body]).toEqual([204, '']);
    }
    expect(asked.slice(before).map(([method]) => method)).toEqual(['echo.echo', 'echo.own_code']);
  });

  it('answers a batch in its order, and nothing to notifications', async () => {
    const batch = await rig.post(
      '[{"jsonrpc":"2.0","id":1,"method":"echo.echo","params":[1]},{"jsonrpc":"2.0","method":"plain_name"},7,{"id":"x","method":"nope"}]',
    );
    expect(batch.status).toBe(200);
    expect(batch.body).toBe(
      '[{"jsonrpc":"2.0","result":[1],"id":1},' +
        '{"result":null,"error":{"code":-32600,"message":"Invalid Request object"},"id":null},' +
        '{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":"x"}]\n',
    );
    expect(asked.at(-1)).toEqual(['plain_name', '']);
    const silent = await rig.post('{"jsonrpc":"2.0","method":"echo.echo"}');
    expect([silent.status, silent.body]).toEqual([204, '']);
    const allSilent = await rig.post('[{"jsonrpc":"2.0","method":"echo.echo"}]');
    expect([allSilent.status, allSilent.body]).toEqual([204, '']);
    const empty = await rig.post('[]');
    expect([empty.status, empty.body]).toEqual([200, '[]\n']);
    expect((await rig.post('{"method":"echo.echo"}')).status).toBe(200);
  });
});

describe('modules', () => {
  it('maps each kind of failure', async () => {
    expect((await rig.call('echo.bad_params')).error).toEqual({ code: -32602, message: 'a number, please' });
    expect((await rig.call('echo.busy')).error).toEqual({
      code: -32000,
      message: 'later',
      data: { reason: 'MODULE_UNAVAILABLE', retry_after_ms: 77 },
    });
  });

  it('takes no text that is no JSON, and counts it', async () => {
    const violations = async (): Promise<bigint> =>
      rig.host.list().find(({ name }) => name === 'echo')?.counters?.violations ?? -1n;
    const before = await violations();
    const { error } = await rig.call('echo.broken');
    expect(error).toMatchObject({ code: -32603, data: { reason: 'PROTOCOL_VIOLATION' } });
    expect(await violations()).toBe(before + 1n);
  });

  it('tells a module when the client has gone', async () => {
    const before = cancelled;
    const body = '{"jsonrpc":"2.0","id":1,"method":"echo.hang"}';
    const head = `POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${rig.authorization}\r\nContent-Length: ${body.length}\r\n\r\n`;
    const { connect } = await import('node:net');
    const socket = connect(rig.port, '127.0.0.1');
    socket.write(head + body);
    await expect.poll(() => asked.at(-1)?.[0], { timeout: 10_000 }).toBe('echo.hang');
    socket.destroy();
    await expect.poll(() => cancelled, { timeout: 10_000 }).toBe(before + 1);
  });

  it('lists methods in help and status, and forgets them with their session', async () => {
    const { result: page } = await rig.call('help');
    expect(page).toContain('== Host ==\nloadmodule name [wait]\nunloadmodule name [cascade]\nreloadmodule name\n');
    expect(page).toContain('\ngetmoduleclispecs [name]\nrunmodulecli name subcommand [args...]\nhelp [command]');
    expect(page).toContain('== echo ==\necho.bad_params  Does echo.bad_params.');
    expect((await rig.call('help', '["plain_name"]')).result).toContain('Answered by echo.');
    expect((await rig.call('help', '["nope"]')).error?.code).toBe(-32601);
    const other = await rig.module('other', { rpc: () => ({ resultJson: '1' }) });
    await other.clients.rpc.registerEndpoint({ method: 'other.one', description: 'One.', timeoutMs: 0 });
    expect(rig.host.list().find(({ name }) => name === 'other')?.rpcMethods).toEqual(['other.one']);
    expect((await rig.call('other.one')).result).toBe(1);
    await rig.call('unloadmodule', '["other"]');
    expect((await rig.call('other.one')).error?.code).toBe(-32601);
    expect((await rig.call('help')).result).not.toContain('other.one');
  });
});

describe('methods of the host', () => {
  it('lists, loads, unloads and reloads by place and by name', async () => {
    const names = async (): Promise<unknown> =>
      ((await rig.call('listmodules')).result as { name: string; state: string }[]).map(({ name }) => name);
    expect(await names()).toEqual(['echo', 'other']);
    const missing = await rig.call('reloadmodule', '{"name":"eccho"}');
    expect(missing.error).toMatchObject({ code: -5, data: { reason: 'MODULE_NOT_FOUND' } });
    expect((await rig.call('loadmodule', '["echo"]')).error?.data).toMatchObject({ reason: 'MODULE_ALREADY_LOADED' });
    for (const params of ['[]', '[1]', '{"nam":"echo"}', '["echo",1]', '["echo",true,1]', '{"name":"a","name":"b"}']) {
      expect((await rig.call('loadmodule', params)).error?.code).toBe(-32602);
    }
  });

  it('runs a command of a module and gives its specs', async () => {
    const module = await rig.call('getmoduleclispecs');
    expect(module.result).toEqual({});
    expect((await rig.call('runmodulecli', '["echo","nope"]')).error).toMatchObject({
      data: { reason: 'METHOD_NOT_FOUND' },
    });
  });

  it('writes down who called what, and no parameter', async () => {
    await rig.post('{"jsonrpc":"2.0","id":1,"method":"echo.echo","params":["TOPSECRET"]}', {
      Authorization: `Basic ${Buffer.from('alice:secret: with:colons').toString('base64')}`,
    });
    const entries: string[] = [];
    const filter = { modules: [], kinds: [], tail: 1_000, follow: false };
    for await (const some of rig.host.control.audit(filter, new AbortController().signal)) {
      entries.push(...some.map(({ message, module }) => `${module}: ${message}`));
    }
    expect(entries).toContain('echo: rpc echo.echo by alice');
    expect(entries).toContain('echo: rpc echo.echo by __cookie__');
    expect(entries.join()).not.toContain('TOPSECRET');
  });
});

describe('pages', () => {
  it('serves three pages without a password, and one at a time may be asked for often', async () => {
    expect((await rig.get('/healthz')).body).toBe('{"alive":true}\n');
    const ready = await rig.get('/readyz');
    expect([ready.status, ready.body]).toEqual([200, '{"ready":true}\n']);
    const metrics = await rig.get('/metrics?x=1');
    expect(metrics.status).toBe(200);
    expect(metrics.headers['content-type']).toContain('text/plain');
    expect(metrics.body).toContain('# TYPE ');
    expect(
      (await rig.raw('HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')).split('\r\n\r\n')[1],
    ).toBe('');
  });

  it('asks for the password where the operator wants it', async () => {
    const closed = await createDoorRig(['probe'], { metricsAuth: true });
    try {
      for (const path of ['/healthz', '/readyz', '/metrics']) {
        expect((await closed.get(path)).status).toBe(401);
        expect((await closed.get(path, { Authorization: closed.authorization })).status).toBe(200);
      }
    } finally {
      await closed.dispose();
    }
  });

  it('is not ready while the node was not reached, and alive all the same', async () => {
    const node = {
      ...devchain(),
      start: () => Promise.reject(new HostError('NODE_UNAVAILABLE', 'nobody is there')),
    };
    const host = hostIn(directory(), { node, rpc: {} });
    await host.start();
    const url = (await host.control.status(new AbortController().signal)).host?.rpcUrl;
    const ready = await fetch(`${url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([503, { ready: false, reasons: ['NODE_UNAVAILABLE'] }]);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    await cleanUp();
  });
});

describe('the cookie', () => {
  it('is there for its owner alone while the door is open', async () => {
    const own = await createDoorRig();
    expect(readFileSync(own.cookieFile, 'utf8')).toMatch(/^__cookie__:[0-9a-f]{64}$/);
    expect(statSync(own.cookieFile).mode & 0o777).toBe(0o600);
    expect(own.cookieFile.endsWith('/d/.cookie')).toBe(true);
    await own.host.stop();
    expect(existsSync(own.cookieFile)).toBe(false);
    await own.dispose();
  });
});

it('gathers nothing on a connection that is kept open for many answers', async () => {
  const warned: string[] = [];
  const listen = (warning: Error): void => void warned.push(warning.name);
  process.on('warning', listen);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < 15; i += 1) {
    const headers = { authorization: rig.authorization };
    const asking = request({ host: '127.0.0.1', port: rig.port, method: 'POST', agent, headers });
    asking.end('{"method":"listmodules"}');
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    expect(answer.statusCode).toBe(200);
    answer.resume();
    await once(answer, 'end');
  }
  agent.destroy();
  process.off('warning', listen);
  expect(warned).toEqual([]);
});
