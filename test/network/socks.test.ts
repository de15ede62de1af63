import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { dialDirectly } from '../../src/network/dial.js';
import { decodeDatagram, encodeDatagram } from '../../src/network/socks-wire.js';
import {
  createRig,
  type Rig,
  type RigOptions,
  readAll,
  serve,
  serveUdp,
  socksRequest,
  socksTo,
  take,
  until,
} from './rig.js';

const GREETING = [5, 1, 0];

/** Public addresses stand for this machine's loopback here. */
const atHome: NonNullable<RigOptions['dial']> = (address, port, signal) =>
  dialDirectly({ ...address, text: '127.0.0.1' }, port, signal);

async function answerTo(rig: Rig, ...writes: Uint8Array[]): Promise<number[]> {
  const socket = await rig.dialSocks();
  for (const bytes of writes) {
    socket.write(bytes);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  socket.end();
  return [...(await readAll(socket)).bytes];
}

describe('the SOCKS server', () => {
  it('serves a client that sends byte by byte, and one that sends all at once with its first data', async () => {
    const { port } = await serve((socket) => void socket.pipe(socket));
    const rig = await createRig({ outboundAny: true, names: { 'a.example': ['9.9.9.9'] }, dial: atHome });
    const slow = await rig.dialSocks();
    for (const byte of socksRequest(`a.example:${port}`)) {
      slow.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect([...(await take(slow, 12))]).toEqual([5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    slow.end('slow');
    expect((await readAll(slow)).bytes.toString()).toBe('slow');
    const fast = await rig.dialSocks();
    fast.end(Buffer.concat([socksRequest(`9.9.9.9:${port}`), Buffer.from('at once')]));
    expect((await readAll(fast)).bytes.subarray(12).toString()).toBe('at once');
    expect(rig.gateway.use()).toMatchObject({ opened: 2n, sentBytes: 11n, receivedBytes: 11n });
  });

  it.each<[string, number[], number[]]>([
    ['nothing', [], [5, 255]],
    ['half a greeting', [5], [5, 255]],
    ['SOCKS4', [4, 1, 0, 80, 1, 2, 3, 4, 0], [0, 0x5b, 0, 0, 0, 0, 0, 0]],
    ['HTTP', [...Buffer.from('CONNECT a:1 HTTP/1.1\r\n\r\n')], [5, 255]],
    ['TLS', [0x16, 3, 1, 2, 0], [5, 255]],
    ['no methods', [5, 0], [5, 255]],
    ['only methods with passwords', [5, 2, 1, 2], [5, 255]],
    ['fewer methods than announced', [5, 9, 0], [5, 255]],
    ['no request', [...GREETING], [5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0]],
    ['another version in the request', [...GREETING, 4, 1, 0, 1, 9, 9, 9, 9, 0, 80], [5, 0, 5, 1]],
    ['a reserved byte', [...GREETING, 5, 1, 1, 1, 9, 9, 9, 9, 0, 80], [5, 0, 5, 1]],
    ['BIND', [...GREETING, 5, 2, 0, 1, 9, 9, 9, 9, 0, 80], [5, 0, 5, 7]],
    ['UDP ASSOCIATE without the grant', [...GREETING, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0], [5, 0, 5, 7]],
    ['no command', [...GREETING, 5, 0, 0, 1, 9, 9, 9, 9, 0, 80], [5, 0, 5, 7]],
    ['command 255', [...GREETING, 5, 255, 0, 1, 9, 9, 9, 9, 0, 80], [5, 0, 5, 7]],
    ['no address type', [...GREETING, 5, 1, 0, 0, 9, 9, 9, 9, 0, 80], [5, 0, 5, 8]],
    ['address type 2', [...GREETING, 5, 1, 0, 2, 9, 9, 9, 9, 0, 80], [5, 0, 5, 8]],
    ['half an address', [...GREETING, 5, 1, 0, 1, 9, 9], [5, 0, 5, 1]],
    ['no port', [...GREETING, 5, 1, 0, 1, 9, 9, 9, 9], [5, 0, 5, 1]],
    ['port 0', [...GREETING, 5, 1, 0, 1, 9, 9, 9, 9, 0, 0], [5, 0, 5, 2]],
    ['an empty name', [...GREETING, 5, 1, 0, 3, 0, 0, 80], [5, 0, 5, 1]],
    ['half a name', [...GREETING, 5, 1, 0, 3, 9, 0x61], [5, 0, 5, 1]],
  ])('answers %s once and ends', async (_, bytes, answer) => {
    const rig = await createRig({ outboundAny: true, dial: () => Promise.reject(new Error('nothing may be dialled')) });
    const got = await answerTo(rig, Buffer.from(bytes));
    expect(got.slice(0, answer.length)).toEqual(answer);
    expect(got.length).toBe(answer.length === 4 ? 12 : answer.length);
    await until(() => rig.gateway.use().refused === 1n);
    expect(rig.gateway.use()).toMatchObject({ open: 0, opened: 0n, failed: 0n });
  });

  it.each([
    ...['2130706433', '0x7f000001', '0x7f.1', '0177.0.0.1', '127.1', '127.0.0.1', '::1', '10.0.0.1', '169.254.169.254'],
    ...[
      '::ffff:127.0.0.1',
      'fe80::1%lo',
      '[::1]',
      'a b.example',
      'a\0.example',
      'bücher.example',
      '-.example',
      '.',
      '*',
    ],
    ...['a'.repeat(64), `${'x.'.repeat(127)}x`, 'x'.repeat(255), 'a.onion'],
  ])('refuses the name %j by rule, and resolves nothing', async (name) => {
    const rig = await createRig({ outboundAny: true, dial: () => Promise.reject(new Error('nothing may be dialled')) });
    const bytes = Buffer.from(name, 'latin1');
    const request = Buffer.concat([Buffer.from([...GREETING, 5, 1, 0, 3, bytes.length]), bytes, Buffer.from([0, 80])]);
    expect((await answerTo(rig, request)).slice(0, 4)).toEqual([5, 0, 5, 2]);
    expect(rig.resolver.asked).toEqual([]);
  });

  it('ends a client that says nothing', async () => {
    const rig = await createRig({ outboundAny: true, limits: { handshakeTimeoutMs: 30 } });
    const silent = await rig.dialSocks();
    expect([...(await readAll(silent)).bytes]).toEqual([5, 255]);
    const half = await rig.dialSocks();
    half.write(Buffer.from([...GREETING, 5, 1, 0]));
    expect([...(await readAll(half)).bytes].slice(0, 4)).toEqual([5, 0, 5, 1]);
    // a client that never closes is not waited for
    await until(() => half.destroyed || half.readableEnded);
  });

  it('survives random bytes', async () => {
    const seed = Number(process.env.MODHOST_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
    process.stdout.write(`MODHOST_TEST_SEED=${seed}\n`);
    let state = seed;
    const next = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const rig = await createRig({
      ...{ outboundAny: true, udp: true, limits: { newBurst: 10_000 } },
      dial: () => Promise.reject(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })),
    });
    const starts = [[], GREETING, [...GREETING, 5, 1, 0], [...GREETING, 5, 3, 0, 1]];
    for (let round = 0; round < 200; round += 1) {
      const start = starts[next(starts.length)] ?? [];
      const noise = Buffer.from(Array.from({ length: next(40) }, () => next(256)));
      const socket = await rig.dialSocks();
      socket.end(Buffer.concat([Buffer.from(start), noise]));
      await readAll(socket);
      socket.destroy();
    }
    await until(() => rig.gateway.use().open === 0);
    expect(rig.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('tells failures apart', async () => {
    const codes = ['ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH', 'ETIMEDOUT', 'EPIPE'];
    const rig = await createRig({
      outboundAny: true,
      dial: () => Promise.reject(Object.assign(new Error('no'), { code: codes[0] })),
    });
    const replies: number[] = [];
    for (; codes.length > 0; codes.shift()) replies.push((await socksTo(rig, '9.9.9.9:80')).reply);
    expect(replies).toEqual([5, 3, 4, 6, 1]);
    expect((await socksTo(rig, 'nowhere.example:80')).reply).toBe(4);
    expect(rig.gateway.use()).toMatchObject({ failed: 6n, refused: 0n });
  });
});

describe('UDP through SOCKS', () => {
  const associated = async (options: RigOptions) => {
    const rig = await createRig({ outboundAny: true, udp: true, ...options });
    const { reply, socket: control } = await socksTo(rig, '0.0.0.0:1', 3);
    expect(reply).toBe(0);
    const client = await serveUdp(() => undefined);
    const { port, host } = rig.at('udp 127.0.1.1:1080');
    return { rig, control, client: client.socket, send: (bytes: Buffer) => client.socket.send(bytes, port, host) };
  };

  it('goes to what the policy lets through, and comes back under its name', async () => {
    const { port } = await serveUdp((payload, reply) => reply(Buffer.from(`${payload} back`)));
    const { rig, client, send } = await associated({
      ...{ outbound: [`t.lan:${port}`], private: [`t.lan:${port}`], names: { 't.lan': ['127.0.0.1'] } },
    });
    const answer = once(client, 'message');
    send(encodeDatagram({ kind: 'name', host: 't.lan', port }, Buffer.from('q')));
    const decoded = decodeDatagram((await answer)[0] as Buffer);
    expect(decoded?.target).toEqual({ kind: 'name', host: 't.lan', port });
    expect(decoded?.payload.toString()).toBe('q back');
    expect(rig.gateway.use()).toMatchObject({ open: 1, opened: 1n, sentBytes: 1n, receivedBytes: 6n });
  });

  it.each(['127.0.0.1', '10.0.0.1', '169.254.169.254', '224.0.0.251', '::1', 'fd00::1', '2002:7f00:1::'])(
    'does not reach %s',
    async (host) => {
      const { rig, send } = await associated({});
      send(encodeDatagram({ kind: 'address', host, port: 53 }, Buffer.from('q')));
      await until(() => rig.gateway.use().refused === 1n);
      expect(rig.gateway.use()).toMatchObject({ opened: 0n, failed: 0n });
    },
  );

  it('drops what is malformed or a fragment, and everything once the association has ended', async () => {
    const { rig, control, send } = await associated({ names: { 'bad.example': ['10.0.0.1'] } });
    const good = encodeDatagram({ kind: 'name', host: 'bad.example', port: 53 }, Buffer.from('q'));
    const malformed = [
      Buffer.alloc(0),
      ...[1, 3, 4, 5, 10, good.length - 3].map((length) => good.subarray(0, length)),
      ...[
        [0, 1],
        [1, 1],
        [2, 1],
        [3, 9],
        [4, 0],
        [5, 0],
      ].map(([at = 0, value = 0]) => {
        const changed = Buffer.from(good);
        changed[at] = value;
        return changed;
      }),
    ];
    for (const bytes of malformed) {
      if (bytes.length > 0) expect(decodeDatagram(bytes), bytes.toString('hex')).toBeUndefined();
      send(bytes);
    }
    send(good);
    await until(() => rig.gateway.use().refused === 1n);
    control.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    send(good);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(rig.gateway.use()).toMatchObject({ refused: 1n, opened: 0n });
  });
});
