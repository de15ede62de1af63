import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assertFrontDoorSettings } from '../../../src/admin/front-door/front-door.js';
import {
  HEADERS_TIMEOUT_MS,
  MAX_BATCH_CALLS,
  MAX_BODY_BYTES,
  MAX_CONNECTIONS,
  MAX_OPEN_REQUESTS,
  REQUEST_TIMEOUT_MS,
} from '../../../src/admin/front-door/limits.js';
import { HostError } from '../../../src/contract/error.js';
import { MAX_JSON_DEPTH } from '../../../src/core/json-text.js';
import type { Handlers } from '../../../src/sdk/invocations.js';
import { createDoorRig, type DoorRig, readAnswer } from './rig.js';

let rig: DoorRig;
let atWork = 0;
let release: () => void = () => {};

beforeAll(async () => {
  rig = await createDoorRig(['probe', 'second']);
  const handlers: Handlers = {
    async rpc({ method, paramsJson }) {
      if (method.startsWith('wait')) {
        atWork += 1;
        await new Promise<void>((resolve) => {
          const before = release;
          release = () => {
            before();
            resolve();
          };
        });
      }
      return { resultJson: paramsJson === '' ? 'null' : paramsJson };
    },
  };
  const module = await rig.module('probe', handlers);
  const second = await rig.module('second', handlers);
  await second.clients.rpc.registerEndpoint({ method: 'wait_too', description: 'Waits.', timeoutMs: 0 });
  await module.clients.rpc.registerEndpoint({ method: 'echo_text', description: 'Echoes.', timeoutMs: 0 });
  await module.clients.rpc.registerEndpoint({ method: 'wait', description: 'Waits.', timeoutMs: 0 });
});
afterAll(async () => {
  expect(await rig.call('echo_text', '[1]')).toMatchObject({ result: [1] });
  await rig.dispose();
});

const V2 = '"jsonrpc":"2.0"';

describe('bodies', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  const rows: [string, string | Uint8Array, number, number][] = [
    ['nothing', '', 500, -32700],
    ['white space', ' \n', 500, -32700],
    ['no JSON', '{"id":1', 500, -32700],
    ['two requests', '{"id":1,"method":"help"}{"id":2,"method":"help"}', 500, -32700],
    [
      'invalid UTF-8',
      Buffer.from([...Buffer.from('{"id":"'), 0xff, ...Buffer.from('","method":"help"}')]),
      500,
      -32700,
    ],
    ['a byte order mark', '\ufeff{"id":1,"method":"help"}', 500, -32700],
    ['UTF-16', Buffer.from('{"id":1,"method":"help"}', 'utf16le'), 500, -32700],
    ['NUL', '\0', 500, -32700],
    ['a trailing comma', '{"id":1,"method":"help",}', 500, -32700],
    ['NaN', '{"id":1,"method":"help","params":[NaN]}', 500, -32700],
    ['a leading zero', '{"id":01,"method":"help"}', 500, -32700],
    ['nesting beyond the bound', `{${V2},"id":1,"method":"echo_text","params":${nested(MAX_JSON_DEPTH)}}`, 500, -32700],
    ['a million brackets', '['.repeat(1_000_000), 500, -32700],
    ['a number', '7', 500, -32700],
    ['a text', '"help"', 500, -32700],
    ['null', 'null', 500, -32700],
    ['no method', '{"id":1}', 400, -32600],
    ['a method that is a number', `{"id":1,"method":7}`, 400, -32600],
    ['a method of 10 kB', `{"id":1,"method":"${'a'.repeat(10_000)}"}`, 400, -32600],
    ['params that are a text', '{"id":1,"method":"help","params":"x"}', 400, -32600],
    ['params that are a number', '{"id":1,"method":"help","params":0}', 400, -32600],
    ['two methods', '{"id":1,"method":"help","method":"stop"}', 400, -32600],
    ['two methods, one escaped', '{"id":1,"method":"help","m\\u0065thod":"stop"}', 400, -32600],
    ['an id of 10 kB', `{"id":"${'a'.repeat(10_000)}","method":"help"}`, 400, -32600],
    ['version 1.1', '{"jsonrpc":"1.1","id":1,"method":"help"}', 400, -32600],
    ['version 3', '{"jsonrpc":"3.0","id":1,"method":"help"}', 400, -32600],
    ['version as a number', '{"jsonrpc":2.0,"id":1,"method":"help"}', 400, -32600],
    [
      'a batch that is too long',
      `[${Array(MAX_BATCH_CALLS + 1)
        .fill('1')
        .join(',')}]`,
      400,
      -32600,
    ],
    ['an unknown method', '{"id":1,"method":"help\\n"}', 404, -32601],
    ['__proto__', '{"id":1,"method":"__proto__"}', 404, -32601],
    ['constructor', '{"id":1,"method":"constructor"}', 404, -32601],
    ['a method of the node', '{"id":1,"method":"getblockcount"}', 404, -32601],
    ['sendtoaddress', '{"id":1,"method":"sendtoaddress","params":["x",1]}', 404, -32601],
    ['dumpprivkey', '{"id":1,"method":"dumpprivkey"}', 404, -32601],
    ['stop', '{"id":1,"method":"stop"}', 404, -32601],
    ['parameters of the wrong kind', '{"id":1,"method":"loadmodule","params":{"name":[]}}', 500, -32602],
    ['a name as a path', '{"id":1,"method":"loadmodule","params":["../../etc"]}', 500, -5],
  ];
  it.each(rows)('%s', async (_name, body, status, code) => {
    const said = await rig.post(body);
    expect(said.status).toBe(status);
    expect(JSON.parse(said.body)).toMatchObject({ result: null, error: { code } });
  });

  it('are refused by their length before they are read, and while they come', async () => {
    const head = (more: string): string =>
      `POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${rig.authorization}\r\n${more}\r\n\r\n`;
    const said = readAnswer(await rig.raw(head(`Content-Length: ${MAX_BODY_BYTES + 1}`)));
    expect([said.status, said.headers.connection]).toEqual([413, 'close']);
    const chunk = `100000\r\n${'a'.repeat(0x100000)}\r\n`;
    const chunked = await rig.raw(head('Transfer-Encoding: chunked') + chunk.repeat(MAX_BODY_BYTES / 0x100000 + 1));
    expect(chunked === '' || readAnswer(chunked).status === 413).toBe(true);
    expect((await rig.post(`{"id":1,"method":"help"}`, { 'Content-Length': '-1' })).status).toBe(400);
  });

  it('of the largest size go through', async () => {
    const text = 'a'.repeat(3_000_000);
    const { result } = await rig.call('echo_text', `["${text}"]`);
    expect(createHash('sha256').update(JSON.stringify(result)).digest('hex')).toBe(
      createHash('sha256')
        .update(JSON.stringify([text]))
        .digest('hex'),
    );
    const { error } = await rig.call('echo_text', `["${'a'.repeat(8_000_000)}"]`);
    expect(error).toMatchObject({ code: -32602, data: { reason: 'MESSAGE_TOO_LARGE' } });
  });
});

describe('strangers', () => {
  const CALL = `{${V2},"id":1,"method":"listmodules"}`;
  const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`;
  const password = (): string => Buffer.from(rig.authorization.slice(6), 'base64').toString().split(':')[1] ?? '';

  it('have no or a wrong password', async () => {
    const rows: (string | undefined)[] = [
      ...[undefined, '', 'Basic', 'Basic !', 'Bearer x', basic(''), basic('__cookie__'), basic('__cookie__:')],
      ...[basic(`__cookie__:${'0'.repeat(64)}`), basic(`:${password()}`), basic(`cookie:${password()}`)],
      ...[basic(`__cookie__:${password()} `), `Basic ${'A'.repeat(4_000)}`, rig.authorization.slice(0, -4)],
    ];
    const said = await Promise.all(rows.map((authorization) => rig.post(CALL, { Authorization: authorization })));
    for (const [place, { status, headers, body }] of said.entries()) {
      expect([rows[place], status]).toEqual([rows[place], 401]);
      expect(headers['www-authenticate']).toBe('Basic realm="jsonrpc"');
      expect(body).not.toContain('probe');
    }
  });

  it('come by another name (DNS rebinding), or from a page of a browser', async () => {
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '0.0.0.0',
      '10.0.0.1',
      '',
      '[::2]',
      'localhost:x',
      'localhost@evil',
    ]) {
      expect([host, (await rig.post(CALL, { Host: host })).status]).toEqual([host, 403]);
    }
    for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:8338', '[::1]:80']) {
      expect([host, (await rig.post(CALL, { Host: host })).status]).toEqual([host, 200]);
    }
    for (const origin of ['null', 'http://localhost', 'https://evil.example']) {
      const said = await rig.post(CALL, { Origin: origin });
      expect(said.status).toBe(403);
      expect(Object.keys(said.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
    expect((await rig.get('/metrics', { Host: 'evil.example' })).status).toBe(403);
    const two = await rig.raw(
      `GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n`,
    );
    expect([400, 403]).toContain(readAnswer(two).status);
  });

  it('ask for what is not there, or in another way', async () => {
    const lines: [string, number][] = [
      ['GET / HTTP/1.1', 405],
      ['PUT / HTTP/1.1', 405],
      ['OPTIONS / HTTP/1.1', 405],
      ['POST /metrics HTTP/1.1', 405],
      ['POST /wallet/main HTTP/1.1', 404],
      ['GET /rest/chaininfo.json HTTP/1.1', 404],
      ['GET /../../etc/passwd HTTP/1.1', 404],
      ['GET //healthz HTTP/1.1', 404],
      ['GET /healthz%00 HTTP/1.1', 404],
      ['GET http://evil.example/healthz HTTP/1.1', 404],
    ];
    for (const [line, status] of lines) {
      const said = readAnswer(
        await rig.raw(`${line}\r\nHost: localhost\r\nAuthorization: ${rig.authorization}\r\nConnection: close\r\n\r\n`),
      );
      expect([line, said.status]).toEqual([line, status]);
    }
  });

  it('send what is no HTTP, or too much of it', async () => {
    for (const text of [
      '\x16\x03\x01\x02\x00\x01\x00',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'hello\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
    ]) {
      expect([text, readAnswer(await rig.raw(text)).status]).toEqual([text, 400]);
    }
    const large = await rig.raw(`GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`);
    expect(readAnswer(large).status).toBe(431);
    expect(await rig.raw('CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n')).toBe('');
    const smuggled = await rig.raw(
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    );
    expect(readAnswer(smuggled).status).toBe(400);
    const upgrade = await rig.get('/healthz', { Upgrade: 'websocket' });
    expect(upgrade.status).toBe(200);
  });
});

describe('slow and many', () => {
  it(
    'closes connections that say nothing, half a head, or half a body',
    async () => {
      const head = `POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${rig.authorization}\r\nContent-Length: 100\r\n`;
      const begun = performance.now();
      const ends = await Promise.all(
        ['', 'POST / HT', head, `${head}\r\n{"id":1`].map(async (text) => {
          await rig.raw(text);
          return performance.now() - begun;
        }),
      );
      for (const end of ends.slice(0, 3)) expect(end).toBeLessThan(2 * HEADERS_TIMEOUT_MS + 5_000);
      expect(ends[3]).toBeLessThan(REQUEST_TIMEOUT_MS + 15_000);
    },
    REQUEST_TIMEOUT_MS + 30_000,
  );

  it('takes as many connections as it says, and serves again when they have gone', async () => {
    const sockets = await Promise.all(
      Array.from({ length: MAX_CONNECTIONS + 20 }, () => {
        const socket = connect(rig.port, '127.0.0.1');
        const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
        socket.on('error', () => {});
        return { socket, closed };
      }),
    );
    await Promise.all(sockets.slice(-5).map(({ closed }) => closed));
    for (const { socket } of sockets) socket.destroy();
    await expect.poll(async () => (await rig.get('/healthz')).status, { timeout: 10_000 }).toBe(200);
  });

  it('refuses what is over the work queue, as bitcoind does, and finishes what is in it', async () => {
    // of one module the door has no more than its share
    const first = Array.from({ length: MAX_OPEN_REQUESTS }, (_, place) => rig.call(place % 2 ? 'wait' : 'wait_too'));
    await expect.poll(() => atWork, { timeout: 20_000 }).toBe(MAX_OPEN_REQUESTS);
    const over = await rig.post('{"id":1,"method":"help"}');
    expect([over.status, over.body]).toEqual([503, 'Work queue depth exceeded\n']);
    release();
    for (const { result } of await Promise.all(first)) expect(result).toBeNull();
    expect((await rig.post('{"id":1,"method":"help"}')).status).toBe(200);
  });

  it('begins nothing of a batch whose client has gone', async () => {
    const before = atWork;
    const call = `{${V2},"id":1,"method":"wait"}`;
    const body = `[${Array(50).fill(call).join(',')}]`;
    const socket = connect(rig.port, '127.0.0.1');
    socket.write(
      `POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${rig.authorization}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await expect.poll(() => atWork, { timeout: 10_000 }).toBe(before + 1);
    socket.destroy();
    await expect.poll(() => rig.host.list()[0]?.state, { timeout: 5_000 }).toBeDefined();
    release();
    expect(await rig.call('echo_text', '[2]')).toMatchObject({ result: [2] });
    expect(atWork).toBe(before + 1);
  });
});

describe('settings', () => {
  const good = { address: '127.0.0.1', port: 0, cookieFile: '/c', rpcauth: [], passthrough: [], metricsAuth: false };
  it.each([
    ['every address', { address: '0.0.0.0' }],
    ['every address of IPv6', { address: '::' }],
    ['a name', { address: 'localhost' }],
    ['an address of a network', { address: '192.168.1.5' }],
    ['no port', { port: 65_536 }],
    ['a star', { passthrough: ['*'] }],
    ['a pattern', { passthrough: ['get*'] }],
    ['an empty name', { passthrough: [''] }],
    ['a method of the host', { passthrough: ['help'] }],
    ['no rpcauth', { rpcauth: ['alice:secret'] }],
    ['the cookie’s user', { rpcauth: [`__cookie__:00$${'0'.repeat(64)}`] }],
  ])('refuse %s', (_name, more) => {
    let reason = 'OK';
    try {
      assertFrontDoorSettings({ ...good, ...more });
    } catch (error) {
      reason = HostError.from(error).reason;
    }
    expect(reason).toBe('BAD_CONFIG');
  });
});
