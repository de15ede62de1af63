import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createRig, listenOn, ONION, type RigOptions, readAll, serve, socksTo, take, until } from './rig.js';

/** What the test's proxy was asked for. */
interface ProxyRequest {
  method: number;
  user: string;
  type: number;
  host: string;
  port: number;
}

/** A SOCKS5 proxy by the book, which sends every name to one server of the test's own. */
async function startProxy(leadsTo: number, behave: { methods?: number[]; reply?: number } = {}) {
  const requests: ProxyRequest[] = [];
  const connections: Socket[] = [];
  const answer = async (socket: Socket): Promise<void> => {
    const [, count = 0] = await take(socket, 2);
    const offered = await take(socket, count);
    const method = (behave.methods ?? [2, 0]).find((known) => offered.includes(known)) ?? 255;
    socket.write(Buffer.from([5, method]));
    if (method === 255) return void socket.end();
    let user = '';
    if (method === 2) {
      const [, length = 0] = await take(socket, 2);
      user = (await take(socket, length)).toString();
      await take(socket, (await take(socket, 1))[0] ?? 0);
      socket.write(Buffer.from([1, 0]));
    }
    const [, , , type = 0] = await take(socket, 4);
    const size = type === 1 ? 4 : type === 4 ? 16 : ((await take(socket, 1))[0] ?? 0);
    const bytes = await take(socket, size);
    const port = (await take(socket, 2)).readUInt16BE();
    requests.push({ method, user, type, host: type === 3 ? bytes.toString() : bytes.toString('hex'), port });
    // the bound address as a name: a client must read past whatever comes
    socket.write(Buffer.from([5, behave.reply ?? 0, 0, 3, 4, 0x61, 0x62, 0x63, 0x64, 0, 7]));
    if (behave.reply !== undefined) return void socket.end();
    const far = connect({ host: '127.0.0.1', port: leadsTo, allowHalfOpen: true });
    connections.push(far);
    far.on('error', () => socket.destroy());
    socket.pipe(far);
    far.pipe(socket);
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.push(socket);
    socket.on('error', () => undefined);
    void answer(socket);
  });
  const port = await listenOn(server);
  onTestFinished(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return { proxy: { host: '127.0.0.1', port }, requests, connections };
}

/** A module behind a proxy, where neither names may be asked nor anything dialled but the proxy. */
async function behindProxy(options: RigOptions, behave: { methods?: number[]; reply?: number } = {}) {
  const { port } = await serve((socket) => void socket.pipe(socket));
  const started = await startProxy(port, behave);
  const rig = await createRig({
    ...options,
    policy: { proxy: started.proxy, ...options.policy },
    dial: () => Promise.reject(new Error('nothing is dialled beside the proxy')),
  });
  return { rig, ...started };
}

describe('a configured proxy', () => {
  it('gets granted names unresolved, with the module as its own user, and nothing goes beside it', async () => {
    const { rig, requests } = await behindProxy({ outbound: ['pool.example:3333'] });
    const socket = await rig.dialName('pool.example', 3333);
    socket.end('hello');
    expect((await readAll(socket)).bytes.toString()).toBe('hello');
    expect(requests).toEqual([{ method: 2, user: 'modhost-sample', type: 3, host: 'pool.example', port: 3333 }]);
    expect(rig.resolver.asked).toEqual([]);
    await until(() => rig.gateway.use().open === 0);
    expect(rig.gateway.use()).toMatchObject({ opened: 1n, failed: 0n, sentBytes: 5n, receivedBytes: 5n });
  });

  it("gets names and public addresses of the module's own SOCKS clients the same way", async () => {
    const { rig, requests } = await behindProxy({ outboundAny: true });
    for (const target of ['any.example:80', '9.9.9.9:80', '[2606:4700::1111]:443', `${ONION}:9735`]) {
      const { reply, socket } = await socksTo(rig, target);
      expect(reply, target).toBe(0);
      socket.end('x');
      expect((await readAll(socket)).bytes.toString()).toBe('x');
    }
    expect(requests.map(({ type, host, port }) => [type, host, port])).toEqual([
      [3, 'any.example', 80],
      [1, '09090909', 80],
      [4, '26064700000000000000000000001111', 443],
      [3, ONION, 9735],
    ]);
    expect(rig.resolver.asked).toEqual([]);
  });

  it('hears of no private address and no name of this machine', async () => {
    const { rig, requests } = await behindProxy({ outboundAny: true });
    for (const target of ['127.0.0.1:80', '10.0.0.1:80', '[::ffff:7f00:1]:80', '169.254.169.254:80', 'localhost:80']) {
      expect((await socksTo(rig, target)).reply, target).toBe(2);
    }
    expect(requests).toEqual([]);
  });

  it('may do without users', async () => {
    const { rig, requests } = await behindProxy({ outboundAny: true }, { methods: [0] });
    expect((await socksTo(rig, 'any.example:80')).reply).toBe(0);
    expect(requests[0]).toMatchObject({ method: 0, user: '' });
  });

  it.each([
    [1, 1],
    [2, 1],
    [3, 3],
    [4, 4],
    [5, 5],
    [6, 6],
    [0xf0, 4],
  ])('that answers %i is answered on with %i', async (reply, passed) => {
    const { rig } = await behindProxy({ outboundAny: true }, { reply });
    expect((await socksTo(rig, 'any.example:80')).reply).toBe(passed);
    expect(rig.gateway.use()).toMatchObject({ failed: 1n, refused: 0n });
  });

  it('that wants what the host does not have, talks nonsense, hangs up or is not there ends in a failure', async () => {
    const { rig } = await behindProxy({ outboundAny: true }, { methods: [1] });
    expect((await socksTo(rig, 'any.example:80')).reply).toBe(1);
    for (const onConnection of [
      (socket: Socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
      (socket: Socket) => void socket.end(Buffer.from([5])),
      (socket: Socket) => void socket.destroy(),
      (socket: Socket) => void socket.write(Buffer.from([5, 2, 1, 1])),
      (socket: Socket) => void socket.end(Buffer.from([5, 0, 5, 0, 0, 9, 1, 1])),
      (socket: Socket) => void socket.end(Buffer.from([5, 0, 5, 0, 0, 1, 1, 1])),
    ]) {
      const { port } = await serve(onConnection);
      const strange = await createRig({ outboundAny: true, policy: { proxy: { host: '127.0.0.1', port } } });
      expect((await socksTo(strange, 'any.example:80')).reply).toBe(1);
      expect(strange.gateway.use()).toMatchObject({ failed: 1n, opened: 0n });
    }
    const gone = await createRig({ outboundAny: true, policy: { proxy: { host: '127.0.0.1', port: 1 } } });
    expect((await socksTo(gone, 'any.example:80')).reply).toBe(1);
  });

  it('that never answers is given up', async () => {
    const { port } = await serve(() => undefined);
    const rig = await createRig({
      ...{ outboundAny: true, policy: { proxy: { host: '127.0.0.1', port } }, limits: { proxyTimeoutMs: 40 } },
    });
    expect((await socksTo(rig, 'any.example:80')).reply).toBe(6);
  });
});

describe('onlynet = "onion"', () => {
  it('reaches onion services and nothing else', async () => {
    const { rig, requests } = await behindProxy({
      ...{ outboundAny: true, outbound: [`${ONION}:9735`], policy: { onlynet: 'onion' } },
    });
    expect((await socksTo(rig, `${ONION}:80`)).reply).toBe(0);
    const listed = await rig.dialName(ONION, 9735);
    listed.write('x');
    expect((await take(listed, 1)).toString()).toBe('x');
    for (const target of ['any.example:80', '9.9.9.9:80', '[2606:4700::1111]:443']) {
      expect((await socksTo(rig, target)).reply, target).toBe(2);
    }
    expect(requests.map(({ host }) => host)).toEqual([ONION, ONION]);
    expect(rig.resolver.asked).toEqual([]);
  });
});
