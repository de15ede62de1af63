import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findProgram } from '../../src/sandbox/probe.js';
import type { SpawnedModule } from '../host/spawned-host.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { requireToolchain } from '../toolchain.js';
import {
  ABSTRACT_SOCKET,
  createWorld,
  LOOPBACK_PORT,
  type World,
  type WorldHost,
  type WorldUser,
} from './world/world.js';

const isRoot = process.getuid?.() === 0;
const missing = ['ip', 'nsenter', 'unshare', 'python3'].filter((name) => findProgram(name) === undefined);
const tools = requireToolchain(
  'network namespaces',
  missing.length === 0 ? { available: true } : { available: false, reason: `${missing.join(', ')} not installed` },
);
const { skip: noSandbox } = await sandboxToolchain();
const users: WorldUser[] = isRoot ? ['root', 'ordinary'] : ['ordinary'];

/** One thing that a module tries. */
interface Try {
  id: string;
  kind: 'tcp' | 'udp' | 'tls' | 'socks' | 'python' | 'devices';
  host?: string;
  port?: number;
  path?: string;
  name?: string;
  code?: string;
}

const probing = (asks: string, tries: readonly Try[], env: Record<string, string> = {}): SpawnedModule => ({
  command: ['node', '/module/probe.mjs'],
  manifest: asks === '' ? '' : `[network]\n${asks}`,
  env: { TRIES: JSON.stringify(tries), ...env },
});

const tcp = (host: string, port: number): Try => ({ id: `tcp ${host} ${port}`, kind: 'tcp', host, port });
const udp = (host: string, port: number): Try => ({ id: `udp ${host} ${port}`, kind: 'udp', host, port });

/** Everywhere that a module with one grant, or none, has no business. */
const ELSEWHERE: readonly Try[] = [
  tcp('198.51.100.7', 3334),
  tcp('203.0.113.9', 3333),
  tcp('192.0.2.1', LOOPBACK_PORT),
  tcp('127.0.0.1', LOOPBACK_PORT),
  tcp('::1', LOOPBACK_PORT),
  tcp('169.254.169.254', 80),
  tcp('2001:db8:1::7', 3333),
  tcp('::ffff:203.0.113.9', 3333),
  tcp('9.9.9.53', 80),
  udp('198.51.100.7', 3333),
  udp('198.51.100.53', 53),
  udp('2001:db8:1::7', 53),
  { id: 'abstract', kind: 'tcp', path: ABSTRACT_SOCKET },
  { id: 'devices', kind: 'devices' },
  { id: 'name', kind: 'tcp', host: 'other.example', port: 3333 },
];

/** What a refusal looks like from inside, the kernel's words for "nobody there" and "not for you". */
const REFUSED = /^(ECONNREFUSED|ENOENT|EACCES|EPERM|EAFNOSUPPORT|EAI_AGAIN|ENOTFOUND|EINVAL|lo)$/;
const PYTHON_TLS = `
import os, socket, ssl
context = ssl.create_default_context(cadata=os.environ['CA'])
plain = socket.create_connection(('pool.example', 443))
print(context.wrap_socket(plain, server_hostname='pool.example').recv(99).decode())`;
const ONION = 'duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion';

const allRefused = (results: Record<string, string>, but: readonly string[] = []): void => {
  for (const [id, answer] of Object.entries(results)) {
    if (!but.includes(id)) expect(`${id}: ${answer}`).toMatch(new RegExp(`: ${REFUSED.source.slice(1)}`));
  }
};

describe.skipIf(tools.skip || noSandbox).each(users)('modules in a world of their own, the host being %s', (user) => {
  let world: World;
  let host: WorldHost;
  const loaded = async (name: string): Promise<Record<string, string>> => {
    const answer = await host.load(name);
    if (answer !== 'OK') throw new Error(`${answer}: ${JSON.stringify(await host.lines(name))}`);
    return host.results(name);
  };
  const call = (port: number, from: string, port_from: number, transport: 'tcp' | 'udp' = 'tcp', to = '192.0.2.1') =>
    world.call({ transport, host: to, port, from, port_from });
  beforeAll(async () => {
    world = await createWorld(user);
  });
  afterAll(async () => {
    await world?.dispose();
  });

  describe('that reaches the network itself', () => {
    const first = tcp('198.51.100.7', 3333);
    const second = udp('203.0.113.9', 3333);
    beforeAll(async () => {
      const modules = {
        unheard: probing('outbound = ["198.51.100.7:3333"]\noutbound_any = true\ninbound = [3333]\nudp = true', [
          first,
          ...ELSEWHERE,
        ]),
        one: probing('outbound = ["198.51.100.7:3333", "203.0.113.9:3334"]\nudp = true', [
          first,
          tcp('203.0.113.9', 3334),
          ...ELSEWHERE,
        ]),
        several: probing(
          'outbound = ["203.0.113.9:3333", "pool.example:443"]\nudp = true',
          [
            second,
            udp('203.0.113.9', 3334),
            { id: 'node', kind: 'tls', host: 'pool.example', port: 443 },
            { id: 'python', kind: 'python', code: PYTHON_TLS },
            { id: 'impostor', kind: 'tls', host: 'pool.example', port: 443, name: 'other.example' },
            tcp('pool.example', 3333),
          ],
          { CA: world.certificate },
        ),
        any: probing('outbound_any = true', [
          { id: 'public', kind: 'socks', host: 'somewhere.example', port: 80 },
          { id: 'documentation', kind: 'socks', host: '198.51.100.7', port: 3334 },
          { id: 'loopback', kind: 'socks', host: '127.0.0.1', port: LOOPBACK_PORT },
          { id: 'localhost', kind: 'socks', host: 'localhost', port: LOOPBACK_PORT },
          { id: 'own', kind: 'socks', host: '192.0.2.1', port: LOOPBACK_PORT },
          { id: 'metadata', kind: 'socks', host: '169.254.169.254', port: 80 },
          tcp('9.9.9.53', 80),
        ]),
        server: probing('inbound = [3333, 3335, 80]\nudp = true', ELSEWHERE, { LISTEN: '3333' }),
      } satisfies Record<string, SpawnedModule>;
      host = await world.host({
        modules,
        options: {
          modules: {
            one: { network: { outbound: ['198.51.100.7:3333'] } },
            several: {
              network: {
                outbound: ['203.0.113.9:3333', 'pool.example:443'],
                udp: true,
                private: ['pool.example:443'],
              },
            },
            any: { network: true },
            server: { network: { inbound: [{ port: 3333 }, { port: 3335, address: '127.0.0.1' }], udp: true } },
          },
        },
      });
    });
    afterAll(async () => {
      await host?.stop();
    });

    it('a grant reaches what it names and nothing else, by TCP, UDP, Unix sockets, IPv6 or the loopback', async () => {
      const unheard = await loaded('unheard');
      allRefused(unheard);
      expect(Object.keys(unheard)).toHaveLength(ELSEWHERE.length + 1);
      const said = (await host.lines('unheard')).map(({ message }) => message).join('\n');
      expect(said).toMatch(/outbound 198\.51\.100\.7:3333, outbound_any, inbound 3333, udp/);
      expect((await host.status('unheard')).network).toBeUndefined();
      expect(world.left()).toEqual([]);

      const one = await loaded('one');
      expect(one[first.id]).toBe('198.51.100.7:3333');
      allRefused(one, [first.id]);
      expect(world.left()).toEqual(['tcp 198.51.100.7:3333']);
      const status = await host.status('one');
      expect(status.network).toMatchObject({ grants: ['tcp to 198.51.100.7:3333'], opened: 1, refused: 0 });
      expect(status.network?.receivedBytes).toBe('198.51.100.7:3333\n'.length);
      expect(status).toMatchObject({ state: 'ENFORCED', by: expect.stringContaining('tcp to 198.51.100.7:3333') });
    });

    it('unmodified clients reach listed names by TLS, datagrams go where UDP is granted, SOCKS to any public address', async () => {
      world.forget();
      const [several, any] = await Promise.all([loaded('several'), loaded('any')]);
      expect(several).toMatchObject({ node: 'true secured', python: 'secured', [second.id]: 'echo ping' });
      expect(several.impostor).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
      allRefused(several, ['node', 'python', 'impostor', second.id]);
      expect(any.public).toBe('public');
      for (const id of ['documentation', 'loopback', 'localhost', 'own', 'metadata']) expect(any[id]).toBe('reply 2');
      expect(any['tcp 9.9.9.53 80']).toBe('ECONNREFUSED');
      expect(world.left()).toEqual([
        'tcp 198.51.100.7:443',
        'tcp 9.9.9.53:80',
        'udp 198.51.100.53:53',
        'udp 203.0.113.9:3333',
      ]);
    });

    it('a granted port is reached from outside, and the module sees who came', async () => {
      allRefused(await loaded('server'), [
        'tcp 203.0.113.9 3333',
        'udp 198.51.100.7 3333',
        'tcp ::ffff:203.0.113.9 3333',
      ]);
      expect(await call(3333, '203.0.113.50', 40_001)).toBe('203.0.113.50 40001');
      expect(await call(3333, '203.0.113.51', 40_001)).toBe('203.0.113.51 40001');
      expect(await call(3333, '169.254.169.254', 999)).toBe('169.254.169.254 999');
      expect(await call(3333, '203.0.113.50', 40_003, 'udp')).toBe('203.0.113.50 40003');
      // the server listens on IPv4 alone: it cannot be shown such a peer, and gets the connection all the same
      expect(await call(3333, '2001:db8:1::50', 40_002, 'tcp', '2001:db8::1')).toMatch(/^127\.0\.0\.1 /);
      for (const port of [80, 3334, 3335]) {
        expect(await call(port, '203.0.113.50', 40_100 + port)).toBe('ConnectionRefusedError');
      }
      expect(await call(3334, '203.0.113.50', 40_004, 'udp')).toBe('ConnectionRefusedError');
      const status = await host.status('server');
      expect(status.network?.grants).toEqual([
        'tcp on port 3333',
        'tcp on port 3335',
        'udp on port 3333',
        'udp on port 3335',
      ]);
      expect(status.network?.opened).toBe(5);
      expect(await host.unload('server')).toBe('OK');
      expect(await call(3333, '203.0.113.50', 40_005)).toBe('ConnectionRefusedError');
      // and again: nothing holds the port
      await loaded('server');
      expect(await call(3333, '203.0.113.50', 40_006)).toBe('203.0.113.50 40006');
    });
  });

  it('with a proxy nothing leaves beside it: no connection, no datagram, no question for a name', async () => {
    world.forget();
    const [name, onion] = [tcp('other.example', 3333), tcp(ONION, 80)];
    const asks = `outbound = ["other.example:3333", "${ONION}:80"]\noutbound_any = true\ninbound = [3336]`;
    host = await world.host({
      modules: {
        all: probing(
          asks,
          [
            ...ELSEWHERE.filter(({ host: target }) => target !== 'other.example'),
            name,
            onion,
            { id: 'name', kind: 'socks', host: 'nobody.example', port: 80 },
            { id: 'address', kind: 'socks', host: '9.9.9.53', port: 80 },
            { id: 'metadata', kind: 'socks', host: '169.254.169.254', port: 80 },
          ],
          { LISTEN: '3336' },
        ),
        datagrams: probing('outbound = ["198.51.100.7:3333"]\nudp = true', []),
      },
      options: {
        network: { proxy: '192.0.2.2:9050' },
        modules: { all: { network: true }, datagrams: { network: { outbound: ['198.51.100.7:3333'], udp: true } } },
      },
    });
    const all = await loaded('all');
    expect(all).toMatchObject({
      [name.id]: 'by proxy to other.example:3333',
      [onion.id]: `by proxy to ${ONION}:80`,
      name: 'by proxy to nobody.example:80',
      address: 'by proxy to 9.9.9.53:80',
      metadata: 'reply 2',
    });
    allRefused(all, [name.id, onion.id, 'name', 'address', 'metadata']);
    expect(await host.load('datagrams')).toBe('NETWORK_UNAVAILABLE');
    // an answer to a stranger would leave beside the proxy
    expect(await call(3336, '203.0.113.50', 41_000)).toBe('ConnectionRefusedError');
    expect(world.left()).toEqual(['tcp 192.0.2.2:9050']);
    expect(new Set(world.proxied.map(({ user: circuit }) => circuit))).toEqual(new Set(['modhost-all']));
    await host.stop();
  });
});
