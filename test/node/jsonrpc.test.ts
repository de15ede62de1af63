import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { HostError } from '../../src/contract/error.js';
import { bitcoinPerKvbToSats, bitcoinToSats, satsToBitcoin } from '../../src/node/jsonrpc/amounts.js';
import type { Credentials } from '../../src/node/jsonrpc/credentials.js';
import { parseLossless, quoteInexactNumbers } from '../../src/node/jsonrpc/lossless.js';
import { hostOf } from '../../src/node/jsonrpc/peer-address.js';
import { createRpcClient, MAX_BATCH_CALLS, type RpcClient } from '../../src/node/jsonrpc/rpc-client.js';
import { submitVerdict } from '../../src/node/jsonrpc/submit-block.js';

const seed = Date.now() % 2 ** 31;
const random = { seed, numRuns: 300 };
process.stdout.write(`jsonrpc.test seed ${seed}\n`);

/** A server that answers as a test says: a double of no node in particular, for what nodes do wrong. */
type Handler = (body: string, request: IncomingMessage, response: ServerResponse) => void;

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(handler: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => handler(Buffer.concat(parts).toString('utf8'), request, response));
    request.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function client(url: string, credentials: Credentials = { kind: 'password', user: 'u', password: 'p' }): RpcClient {
  const rpc = createRpcClient({ url, credentials, batching: true, maxSockets: 2 }, () => 0.99);
  cleanups.push(() => rpc.close());
  return rpc;
}

const reply = (response: ServerResponse, body: unknown, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
};
const result = (body: string, value: unknown): unknown => ({ result: value, error: null, id: JSON.parse(body).id });
const failure = (body: string, code: number, message = 'no'): unknown => ({
  result: null,
  error: { code, message },
  id: JSON.parse(body).id,
});
const signal = (): AbortSignal => AbortSignal.timeout(30_000);

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return error.reason;
  }
  return 'no error';
}

describe('lossless JSON', () => {
  it('gives every number back digit for digit, in whatever structure', () => {
    const token = fc.oneof(
      fc.integer().map(String),
      fc.bigInt({ min: -(10n ** 25n), max: 10n ** 25n }).map(String),
      fc.tuple(fc.nat(21_000_000), fc.nat(99_999_999)).map(([a, b]) => `${a}.${String(b).padStart(8, '0')}`),
      fc.tuple(fc.nat(999), fc.integer({ min: -20, max: 20 })).map(([a, e]) => `${a}e${e}`),
    );
    const key = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(fc.array(fc.tuple(key, token, key)), (entries) => {
        const text = `[${entries.map(([k, n, v]) => `{${JSON.stringify(k)}:${n},"t":${JSON.stringify(v)}}`).join(' , ')}]`;
        const parsed = parseLossless(text) as Record<string, unknown>[];
        entries.forEach(([k, n, v], i) => {
          expect(parsed[i]?.t).toBe(v);
          if (k !== 't' && k !== '__proto__') expect(String(parsed[i]?.[k])).toBe(n === '-0' ? '0' : n);
        });
      }),
      random,
    );
  });

  it('leaves what has no inexact numbers as it was, strings that look like numbers included', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        const text = JSON.stringify(value, (_, v) => (typeof v === 'number' ? Math.trunc(v % 1e12) : v));
        expect(quoteInexactNumbers(text)).toBe(text);
      }),
      random,
    );
    expect(parseLossless('{"a":"0.1","b":"\\\\","c":0.1,"d":"\\"0.2","e":-1e-8}')).toEqual({
      a: '0.1',
      b: '\\',
      c: '0.1',
      d: '"0.2',
      e: '-1e-8',
    });
  });

  it('refuses what JSON.parse refuses: quoting never makes broken JSON valid', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:.0123456789eE+-\\ tn') }), (text) => {
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        if (valid) expect(() => parseLossless(text)).not.toThrow();
        else expect(() => parseLossless(text)).toThrow(SyntaxError);
      }),
      { seed, numRuns: 3_000 },
    );
  });
});

describe('amounts', () => {
  it('are exact in both directions', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2_100_000_000_000_000n }), (sats) => {
        expect(bitcoinToSats(satsToBitcoin(sats))).toBe(sats);
        // Go prints floats with the fewest digits, small ones with an exponent.
        if (sats < 100n) expect(bitcoinToSats(`${sats}e-08`)).toBe(sats);
      }),
      random,
    );
  });

  it.each([
    ['0.29', 29_000_000n],
    ['50', 5_000_000_000n],
    [50, 5_000_000_000n],
    ['1e-08', 1n],
    ['1E+2', 10_000_000_000n],
    ['20999999.97690000', 2_099_999_997_690_000n],
    ['-0.00000001', -1n],
    ['0.000000001', undefined],
    ['1e999999', undefined],
    ['', undefined],
    ['0x10', undefined],
    ['NaN', undefined],
  ])('%s BTC is %s satoshis', (text, sats) => expect(bitcoinToSats(text)).toBe(sats));

  it('cuts fee rates below a satoshi', () => {
    expect(bitcoinPerKvbToSats('0.000010019')).toBe(1_001n);
    expect(bitcoinPerKvbToSats('Infinity')).toBeUndefined();
  });
});

describe('C165: a node behind JSON-RPC that is down, slow or talks garbage', () => {
  it('finds calls of a batch by their id and splits what is too long', async () => {
    const sizes: number[] = [];
    const url = await serve((body, _, response) => {
      const calls = JSON.parse(body) as { id: number; params: number[] }[];
      sizes.push(calls.length);
      reply(response, calls.map(({ id, params }) => ({ result: params[0], error: null, id })).reverse());
    });
    const calls = Array.from({ length: 250 }, (_, i) => ({ method: 'm', params: [i] }));
    const outcomes = await client(url).batch(calls, { signal: signal() });
    expect(outcomes).toEqual(calls.map(({ params }) => ({ result: params[0] })));
    expect(sizes).toEqual([MAX_BATCH_CALLS, MAX_BATCH_CALLS, 50]);
  });

  it.each([
    ['HTML', '<html>'],
    ['cut JSON', '{"result":'],
    ['a number', '7'],
    ['an answer without result', '{"id":1}'],
    ['null', 'null'],
  ])('%s is NODE_ERROR', async (_, body) => {
    const url = await serve((__, ___, response) => reply(response, body));
    expect(await reasonOf(client(url).call('m', [], z.unknown(), { signal: signal() }))).toBe('NODE_ERROR');
  });

  it('an empty answer, as btcd gives while it stops, is NODE_UNAVAILABLE', async () => {
    const url = await serve((_, __, response) => reply(response, '\n'));
    expect(await reasonOf(client(url).call('m', [], z.unknown(), { signal: signal() }))).toBe('NODE_UNAVAILABLE');
  });

  it('a result of another shape is NODE_ERROR', async () => {
    const url = await serve((body, _, response) => reply(response, result(body, { blocks: 'many' })));
    const call = client(url).call('m', [], z.object({ blocks: z.number() }), { signal: signal() });
    expect(await reasonOf(call)).toBe('NODE_ERROR');
  });

  it('an answer that breaks off is NODE_UNAVAILABLE', async () => {
    const url = await serve((_, __, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{"result"');
      setTimeout(() => response.destroy(), 20);
    });
    expect(await reasonOf(client(url).call('m', [], z.unknown(), { signal: signal() }))).toBe('NODE_UNAVAILABLE');
  });

  it('a port that nobody listens on is NODE_UNAVAILABLE with a time to come back', async () => {
    const failed = client('http://127.0.0.1:1').call('m', [], z.unknown(), { signal: signal() });
    await expect(failed).rejects.toMatchObject({ reason: 'NODE_UNAVAILABLE', retryAfterMs: expect.any(Number) });
  });

  it('a node that never answers is given up when the caller gives up, with the reason of the caller', async () => {
    const url = await serve(() => {});
    const deadline = new AbortController();
    const call = client(url).call('m', [], z.unknown(), { signal: deadline.signal });
    setTimeout(() => deadline.abort(new HostError('DEADLINE_EXCEEDED', 'late')), 30);
    expect(await reasonOf(call)).toBe('DEADLINE_EXCEEDED');
  });

  it('a node that never answers is given up after the time of the exchange', async () => {
    const url = await serve(() => {});
    const call = client(url).call('m', [], z.unknown(), { signal: signal(), timeoutMs: 30 });
    expect(await reasonOf(call)).toBe('NODE_UNAVAILABLE');
  });

  it('a full work queue is waited for, then NODE_BUSY', async () => {
    let refusals = 2;
    let asked = 0;
    const url = await serve((body, _, response) => {
      asked += 1;
      if (refusals-- > 0) reply(response, 'Work queue depth exceeded', 503);
      else reply(response, result(body, 5));
    });
    expect(await client(url).call('m', [], z.number(), { signal: signal() })).toBe(5);
    expect(asked).toBe(3);
    refusals = Number.POSITIVE_INFINITY;
    asked = 0;
    await expect(client(url).call('m', [], z.number(), { signal: signal() })).rejects.toMatchObject({
      reason: 'NODE_BUSY',
      retryAfterMs: expect.any(Number),
    });
    expect(asked).toBe(4);
  });

  it.each([
    [-28, 'NODE_SYNCING'],
    [-10, 'NODE_SYNCING'],
    [-9, 'NODE_SYNCING'],
    [-32601, 'NODE_LACKS_FEATURE'],
    [-33, 'NODE_LACKS_FEATURE'],
    [-8, 'NODE_ERROR'],
  ])('code %i is %s, whatever the HTTP status', async (code, reason) => {
    for (const status of [200, 404, 500]) {
      const url = await serve((body, _, response) => reply(response, failure(body, code), status));
      expect(await reasonOf(client(url).call('m', [], z.unknown(), { signal: signal() }))).toBe(reason);
    }
  });

  it('warm-up inside a batch fails the batch', async () => {
    const url = await serve((body, _, response) => {
      const ids = (JSON.parse(body) as { id: number }[]).map(({ id }) => id);
      reply(
        response,
        ids.map((id) => ({ result: null, error: { code: -28, message: 'Loading' }, id })),
      );
    });
    const calls = [
      { method: 'a', params: [] },
      { method: 'b', params: [] },
    ];
    expect(await reasonOf(client(url).batch(calls, { signal: signal() }))).toBe('NODE_SYNCING');
  });

  it('an idle socket that the node closed costs nobody an answer', async () => {
    const url = await serve((body, request, response) => {
      reply(response, result(body, 1));
      // Closed without a word after the answer, as a node does at its idle limit.
      setTimeout(() => request.socket.destroy(), 5);
    });
    const rpc = client(url);
    for (let i = 0; i < 20; i++) {
      expect(await rpc.call('m', [], z.number(), { signal: signal() })).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, i % 7));
    }
  });
});

describe('credentials', () => {
  const guarded =
    (accepts: () => string): Handler =>
    (body, request, response) => {
      const [, code = ''] = (request.headers.authorization ?? '').split(' ');
      if (Buffer.from(code, 'base64').toString('utf8') === accepts()) reply(response, result(body, 1));
      else reply(response, '', 401);
    };

  it('reads the cookie again when the node restarted with another one', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'modhost-cookie-'));
    cleanups.push(() => rm(directory, { recursive: true }));
    const path = join(directory, '.cookie');
    let cookie = '__cookie__:first';
    await writeFile(path, cookie);
    const rpc = client(await serve(guarded(() => cookie)), { kind: 'cookie', path });
    expect(await rpc.call('m', [], z.number(), { signal: signal() })).toBe(1);
    cookie = '__cookie__:second';
    expect(await reasonOf(rpc.call('m', [], z.number(), { signal: signal() }))).toBe('NODE_AUTH');
    await writeFile(path, cookie);
    expect(await rpc.call('m', [], z.number(), { signal: signal() })).toBe(1);
    await rm(path);
    cookie = '__cookie__:third';
    expect(await reasonOf(rpc.call('m', [], z.number(), { signal: signal() }))).toBe('NODE_UNAVAILABLE');
    await writeFile(path, 'x'.repeat(5_000));
    expect(await reasonOf(rpc.call('m', [], z.number(), { signal: signal() }))).toBe('NODE_AUTH');
  });

  it('a wrong password and a forbidden call are NODE_AUTH', async () => {
    const url = await serve(guarded(() => 'someone:else'));
    expect(await reasonOf(client(url).call('m', [], z.number(), { signal: signal() }))).toBe('NODE_AUTH');
    const whitelisted = await serve((_, __, response) => reply(response, '', 403));
    expect(await reasonOf(client(whitelisted).call('m', [], z.number(), { signal: signal() }))).toBe('NODE_AUTH');
  });

  it('a URL that is none, or carries a password, is BAD_CONFIG', () => {
    for (const url of ['here', 'ftp://127.0.0.1', 'http://user:secret@127.0.0.1']) {
      expect(() =>
        createRpcClient({ url, credentials: { kind: 'none' }, batching: true, maxSockets: 1 }, () => 0),
      ).toThrow(expect.objectContaining({ reason: 'BAD_CONFIG' }));
    }
  });
});

describe('words of nodes', () => {
  it.each([
    [null, { outcome: 'accepted' }],
    ['duplicate', { outcome: 'duplicate' }],
    ['inconclusive', { outcome: 'inconclusive' }],
    ['duplicate-inconclusive', { outcome: 'inconclusive' }],
    ['duplicate-invalid', { outcome: 'rejected', reason: 'duplicate-invalid' }],
    ['rejected: already have block 00', { outcome: 'duplicate' }],
    ['high-hash', { outcome: 'rejected', reason: 'high-hash' }],
  ])('submitblock %s', (said, verdict) => expect(submitVerdict(said)).toEqual(verdict));

  it.each([
    ['1.2.3.4:8333', '1.2.3.4'],
    ['1.2.3.4', '1.2.3.4'],
    ['[2001:db8::1]:8333', '2001:db8::1'],
    ['2001:db8::1', '2001:db8::1'],
    ['abc.onion:8333', 'abc.onion'],
    ['10.0.0.0/8', '10.0.0.0/8'],
  ])('host of %s', (address, host) => expect(hostOf(address)).toBe(host));
});
