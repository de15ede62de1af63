import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { dialDirectly } from '../../src/network/dial.js';
import { createRig, readAll, serve, serveUdp, socksTo, take, until } from './rig.js';

const echo = (socket: Socket): void => void socket.pipe(socket);

describe('a granted name', () => {
  it('is resolved by the host, reached, counted and logged', async () => {
    const { port } = await serve(echo);
    const target = `pool.example:${port}`;
    const rig = await createRig({ outbound: [target], private: [target], names: { 'pool.example': ['127.0.0.1'] } });
    const socket = await rig.dialName('pool.example', port);
    socket.write('hello');
    expect((await take(socket, 5)).toString()).toBe('hello');
    expect(rig.gateway.use()).toMatchObject({ open: 1, opened: 1n, sentBytes: 5n, receivedBytes: 5n });
    socket.end('bye');
    expect((await readAll(socket)).bytes.toString()).toBe('bye');
    await until(() => rig.gateway.use().open === 0);
    expect(rig.gateway.use()).toEqual({
      grants: [`tcp to ${target}`],
      ...{ open: 0, opened: 1n, refused: 0n, failed: 0n, sentBytes: 8n, receivedBytes: 8n },
    });
    expect(rig.lines.find(({ level }) => level === 'info')?.fields).toMatchObject({
      ...{ module: 'sample', transport: 'tcp', direction: 'out', target, address: '127.0.0.1' },
      ...{ sent: 8, received: 8, outcome: 'ended' },
    });
    expect(rig.resolver.asked).toEqual(['pool.example']);
  });

  it("that leads to a private address is refused without the operator's mark", async () => {
    const { port, sockets } = await serve(echo);
    const rig = await createRig({ outbound: [`a.lan:${port}`], names: { 'a.lan': ['127.0.0.1', '10.0.0.1'] } });
    const { error } = await readAll(await rig.dialName('a.lan', port));
    expect(error).toBe('ECONNRESET');
    expect(rig.gateway.use()).toMatchObject({ opened: 0n, refused: 1n, failed: 0n });
    expect(rig.lines.at(-1)).toMatchObject({ level: 'warn', fields: { outcome: 'refused' } });
    expect(sockets).toEqual([]);
  });

  it('may lead to an address that the operator has listed himself', async () => {
    const { port } = await serve(echo);
    const outbound = [`a.lan:${port}`, `127.0.0.1:${port}`];
    const rig = await createRig({ outbound, names: { 'a.lan': ['10.255.255.1', '127.0.0.1'] } });
    const socket = await rig.dialName('a.lan', port);
    socket.write('x');
    expect((await take(socket, 1)).toString()).toBe('x');
  });

  it('is dialled at the very address that was judged (DNS rebinding)', async () => {
    const dialled: string[] = [];
    const { port } = await serve(echo);
    const rig = await createRig({
      outbound: [`a.example:${port}`],
      names: { 'a.example': [['9.9.9.9'], ['127.0.0.1'], ['9.9.9.9', '127.0.0.1']] },
      dial: async (address, dialPort, signal) => {
        dialled.push(address.text);
        const loopback = { ...address, text: '127.0.0.1' };
        return dialDirectly(loopback, dialPort, signal);
      },
    });
    const first = await rig.dialName('a.example', port);
    first.write('x');
    expect((await take(first, 1)).toString()).toBe('x');
    expect((await readAll(await rig.dialName('a.example', port))).error).toBe('ECONNRESET');
    const third = await rig.dialName('a.example', port);
    third.write('x');
    expect((await take(third, 1)).toString()).toBe('x');
    expect(dialled).toEqual(['9.9.9.9', '9.9.9.9']);
    expect(rig.resolver.asked).toHaveLength(3);
  });

  it('fails clearly when nobody listens, nothing answers, or no name is there', async () => {
    const { port } = await serve(echo);
    const outbound = ['none.example:1', 'closed.lan:1', `slow.example:${port}`];
    const rig = await createRig({
      ...{ outbound, private: ['closed.lan:1'] },
      names: { 'closed.lan': ['127.0.0.1'], 'slow.example': ['9.9.9.9'] },
      limits: { connectTimeoutMs: 50, logBurst: 100 },
      dial: (address, dialPort, signal) =>
        address.text === '9.9.9.9'
          ? new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
          : dialDirectly(address, dialPort, signal),
    });
    expect((await readAll(await rig.dialName('none.example', 1))).error).toBe('ECONNRESET');
    expect((await readAll(await rig.dialName('closed.lan', 1))).error).toBe('ECONNRESET');
    expect((await readAll(await rig.dialName('slow.example', port))).error).toBe('ECONNRESET');
    expect(rig.gateway.use()).toMatchObject({ opened: 0n, refused: 0n, failed: 3n });
    expect(rig.lines.map(({ fields }) => fields.outcome)).toEqual(['UNRESOLVED', 'ECONNREFUSED', 'ETIMEDOUT']);
  });

  it('is given up by DNS after its time', async () => {
    const rig = await createRig({ outbound: ['mute.example:1'], limits: { dnsTimeoutMs: 20 } });
    rig.resolver.lookup = () => new Promise(() => undefined);
    expect((await readAll(await rig.dialName('mute.example', 1))).error).toBe('ECONNRESET');
    expect(rig.lines.at(-1)?.fields.outcome).toBe('UNRESOLVED');
  });

  it('keeps the first address that answers', async () => {
    const { port } = await serve(echo);
    const target = `two.lan:${port}`;
    const rig = await createRig({ outbound: [target], private: [target], names: { 'two.lan': ['::1', '127.0.0.1'] } });
    const socket = await rig.dialName('two.lan', port);
    socket.write('x');
    expect((await take(socket, 1)).toString()).toBe('x');
    expect(rig.lines.find(({ level }) => level === 'debug')?.fields.address).toBe('127.0.0.1');
  });
});

describe('any public address', () => {
  it.each([
    ...['127.0.0.1', '10.0.0.1', '192.168.0.1', '172.16.0.1', '100.64.0.1', '169.254.169.254', '0.0.0.0'],
    ...['255.255.255.255', '224.0.0.1', '203.0.113.1', '198.18.0.1', '240.0.0.1', '8.8.4.4'],
    ...['[::1]', '[::]', '[::ffff:10.0.0.1]', '[::ffff:127.0.0.1]', '[64:ff9b::10.0.0.1]', '[2002:7f00:1::]'],
    ...['[fe80::1]', '[fd00::1]', '[ff02::1]', '[2001:db8::1]', '[2a00:1:2:3::5]', '[64:ff9b:1::1]'],
    ...['localhost', 'a.localhost', 'localhost.localdomain', 'private.example', 'mixed.example'],
  ])('is not %s', async (host) => {
    const rig = await createRig({
      outboundAny: true,
      names: { 'private.example': ['192.168.0.1'], 'mixed.example': ['::1', '10.0.0.1', '169.254.169.254'] },
      dial: () => Promise.reject(new Error('nothing may be dialled')),
    });
    const { reply, socket } = await socksTo(rig, `${host}:80`);
    expect(reply).toBe(2);
    expect((await readAll(socket)).error).toBeUndefined();
    expect(rig.gateway.use()).toMatchObject({ refused: 1n, failed: 0n, opened: 0n });
  });

  it('is not an onion service without a proxy, which no name server hears of', async () => {
    const rig = await createRig({ outboundAny: true });
    const onion = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion';
    expect((await socksTo(rig, `${onion}:80`)).reply).toBe(2);
    expect(rig.resolver.asked).toEqual([]);
  });

  it('is dialled where it was judged public, private answers of the name left out', async () => {
    const dialled: string[] = [];
    const { port } = await serve(echo);
    const rig = await createRig({
      outboundAny: true,
      names: { 'mixed.example': ['10.0.0.1', '9.9.9.9'] },
      dial: (address, dialPort, signal) => {
        dialled.push(address.text);
        return dialDirectly({ ...address, text: '127.0.0.1' }, dialPort, signal);
      },
    });
    const { reply, socket } = await socksTo(rig, `mixed.example:${port}`);
    expect(reply).toBe(0);
    socket.write('x');
    expect((await take(socket, 1)).toString()).toBe('x');
    expect(dialled).toEqual(['9.9.9.9']);
  });

  it('still reaches what the operator has listed, whichever way the client goes', async () => {
    const { port } = await serve(echo);
    const rig = await createRig({
      outboundAny: true,
      outbound: [`127.0.0.1:${port}`],
      names: { 'a.lan': ['127.0.0.1'] },
    });
    for (const target of [`127.0.0.1:${port}`, `a.lan:${port}`]) expect((await socksTo(rig, target)).reply).toBe(0);
    expect((await socksTo(rig, '127.0.0.1:1')).reply).toBe(2);
  });
});

describe('what a connection is', () => {
  const open = async (onConnection: (socket: Socket) => void, limits = {}) => {
    const { port, sockets } = await serve(onConnection);
    const target = `a.lan:${port}`;
    const rig = await createRig({ outbound: [target], private: [target], names: { 'a.lan': ['127.0.0.1'] }, limits });
    const socket = await rig.dialName('a.lan', port);
    await until(() => rig.gateway.use().open === 1 && sockets.length === 1);
    return { rig, socket, far: sockets[0] as Socket, port };
  };

  it('passes on an end of data alone, in both directions', async () => {
    const { socket, far } = await open(() => undefined);
    socket.end('question');
    expect((await readAll(far)).bytes.toString()).toBe('question');
    far.end('answer');
    expect((await readAll(socket)).bytes.toString()).toBe('answer');
    const other = await open(() => undefined);
    other.far.end('greeting');
    expect((await readAll(other.socket)).bytes.toString()).toBe('greeting');
    other.socket.end('reply');
    expect((await readAll(other.far)).bytes.toString()).toBe('reply');
  });

  it('passes on a reset as a reset, in both directions', async () => {
    const one = await open(() => undefined);
    one.far.resetAndDestroy();
    expect((await readAll(one.socket)).error).toBe('ECONNRESET');
    const two = await open(() => undefined);
    const heard = once(two.far, 'error');
    two.socket.resetAndDestroy();
    expect((await heard)[0]).toMatchObject({ code: 'ECONNRESET' });
    await until(() => two.rig.gateway.use().open === 0);
    expect(two.rig.lines.at(-1)?.fields.outcome).toBe('ECONNRESET');
  });

  it('does not read a sender for a reader that stands still', async () => {
    const { port, sockets } = await serve((connection) => connection.pause());
    const target = `a.lan:${port}`;
    let outside: Socket | undefined;
    const rig = await createRig({
      ...{ outbound: [target], private: [target], names: { 'a.lan': ['127.0.0.1'] } },
      async dial(address, dialPort, signal) {
        outside = await dialDirectly(address, dialPort, signal);
        return outside;
      },
    });
    const socket = await rig.dialName('a.lan', port);
    const size = 32 * 1024 * 1024;
    socket.end(Buffer.alloc(size));
    await until(() => rig.gateway.use().open === 1 && sockets.length === 1);
    // the kernel takes a few MiB on each side; then nothing moves
    let before = -1n;
    while (before !== rig.gateway.use().sentBytes) {
      before = rig.gateway.use().sentBytes;
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    expect(before).toBeLessThan(BigInt(size));
    expect(outside?.writableLength).toBeLessThanOrEqual(128 * 1024);
    const far = sockets[0] as Socket;
    const all = readAll(far);
    far.resume();
    expect((await all).bytes).toHaveLength(size);
    expect(rig.gateway.use().sentBytes).toBe(BigInt(size));
  });

  it('ends after a silence, sooner when one side is done', async () => {
    const idle = await open(() => undefined, { idleTimeoutMs: 40 });
    expect((await readAll(idle.socket)).error).toBe('ECONNRESET');
    await until(() => idle.rig.gateway.use().open === 0);
    expect(idle.rig.lines.at(-1)?.fields.outcome).toBe('idle');
    const half = await open(() => undefined, { halfClosedTimeoutMs: 40 });
    half.socket.end();
    await until(() => half.rig.gateway.use().open === 0);
    expect(half.rig.lines.at(-1)?.fields.outcome).toBe('idle');
  });

  it('keeps to its bytes per second', async () => {
    const { socket, far } = await open(() => undefined, { bytesPerSecond: 1_000_000, bytesBurst: 100_000 });
    const started = performance.now();
    socket.end(Buffer.alloc(400_000));
    expect((await readAll(far)).bytes).toHaveLength(400_000);
    // 300,000 bytes beyond the burst take 300 ms; the last read, at most 64 KiB, is charged after it has passed
    expect(performance.now() - started).toBeGreaterThan(200);
  });

  it('is broken by the end of the gateway, and nothing comes after it', async () => {
    const { rig, socket, far, port } = await open(() => undefined);
    const heard = readAll(socket);
    const heardFar = readAll(far);
    await rig.gateway.close();
    await Promise.all([heard, heardFar]);
    expect(rig.gateway.use()).toMatchObject({ open: 0, opened: 1n });
    expect(rig.lines.at(-1)?.fields.outcome).toBe('closed');
    expect((await readAll(await rig.dialName('a.lan', port))).error).toBe('ECONNREFUSED');
    await rig.gateway.close();
  });
});

describe('the bounds of one module', () => {
  const many = async (limits: object) => {
    const { port } = await serve(echo);
    const target = `a.lan:${port}`;
    const rig = await createRig({ outbound: [target], private: [target], names: { 'a.lan': ['127.0.0.1'] }, limits });
    return { rig, dial: () => rig.dialName('a.lan', port) };
  };

  it('hold connections open at once', async () => {
    const { rig, dial } = await many({ maxConnections: 2 });
    const [first] = [await dial(), await dial()];
    await until(() => rig.gateway.use().open === 2);
    expect((await readAll(await dial())).error).toBe('ECONNRESET');
    expect(rig.gateway.use()).toMatchObject({ open: 2, opened: 2n, refused: 1n });
    first?.destroy();
    await until(() => rig.gateway.use().open === 1);
    await dial();
    await until(() => rig.gateway.use().opened === 3n);
  });

  it('hold new connections per second, and what is logged of refusals', async () => {
    const { rig, dial } = await many({ newPerSecond: 0.001, newBurst: 3, logPerSecond: 0.001, logBurst: 2 });
    const sockets = await Promise.all(Array.from({ length: 10 }, dial));
    const refusals = await Promise.all(
      sockets.map((socket) => Promise.race([readAll(socket), until(() => rig.gateway.use().refused === 7n)])),
    );
    expect(refusals).toHaveLength(10);
    expect(rig.gateway.use()).toMatchObject({ opened: 3n, refused: 7n });
    expect(rig.lines.filter(({ level }) => level === 'warn')).toHaveLength(2);
  });
});

describe('UDP', () => {
  it('goes to a listed target and back, to each client its own', async () => {
    const { port } = await serveUdp((payload, reply) => reply(Buffer.from(`${payload} back`)));
    const target = `dns.lan:${port}`;
    const rig = await createRig({
      outbound: [target],
      private: [target],
      udp: true,
      names: { 'dns.lan': ['127.0.0.1'] },
    });
    const place = rig.at(`udp 127.0.1.2:${port}`);
    const clients = [await serveUdp(() => undefined), await serveUdp(() => undefined)];
    for (const [index, { socket }] of clients.entries()) {
      const answer = once(socket, 'message');
      socket.send(`q${index}`, place.port, place.host);
      expect(String((await answer)[0])).toBe(`q${index} back`);
    }
    expect(rig.gateway.use()).toMatchObject({ open: 2, opened: 2n, sentBytes: 4n, receivedBytes: 14n });
  });

  it('hears from nobody but the target', async () => {
    let source = 0;
    const { port } = await serveUdp(() => undefined);
    const target = await serveUdp(() => undefined);
    target.socket.on('message', (_, from) => {
      source = from.port;
    });
    const name = `t.lan:${target.port}`;
    const rig = await createRig({ outbound: [name], private: [name], udp: true, names: { 't.lan': ['127.0.0.1'] } });
    const client = await serveUdp(() => undefined);
    client.socket.send('q', rig.at(`udp 127.0.1.2:${target.port}`).port, '127.0.0.1');
    await until(() => source !== 0);
    const stranger = await serveUdp(() => undefined);
    expect(stranger.port).not.toBe(port);
    stranger.socket.send('forged', source, '127.0.0.1');
    const answer = once(client.socket, 'message');
    target.socket.send('true', source, '127.0.0.1');
    expect(String((await answer)[0])).toBe('true');
    expect(rig.gateway.use().receivedBytes).toBe(4n);
  });

  it('is refused to private addresses, bounded, and forgotten after a silence', async () => {
    const { port } = await serveUdp((payload, reply) => reply(payload));
    const names = { 'bad.lan': ['127.0.0.1'], 'good.lan': ['127.0.0.1'] };
    const rig = await createRig({
      ...{ outbound: [`bad.lan:${port}`, `good.lan:${port}`], private: [`good.lan:${port}`], udp: true, names },
      limits: { maxExchanges: 2, exchangeTimeoutMs: 100 },
    });
    const client = await serveUdp(() => undefined);
    client.socket.send('x', rig.at(`udp 127.0.1.2:${port}`).port, '127.0.0.1');
    await until(() => rig.gateway.use().refused === 1n);
    expect(rig.gateway.use()).toMatchObject({ opened: 0n, failed: 0n });
    const others = [await serveUdp(() => undefined), await serveUdp(() => undefined), await serveUdp(() => undefined)];
    for (const { socket } of others) socket.send('x', rig.at(`udp 127.0.1.3:${port}`).port, '127.0.0.1');
    await until(() => rig.gateway.use().refused === 2n);
    await until(() => rig.gateway.use().opened === 2n && rig.gateway.use().open === 0);
    expect(rig.lines.at(-1)?.fields.outcome).toBe('idle');
  });
});
