import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { CarriedListener, Inside, Peer } from '../../src/network/inbound.js';
import { createRig, dial, listenOn, readAll, serve, serveUdp, until } from './rig.js';

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listenOn(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What stands in the namespace elsewhere: carries connections to a server of the test's own. */
function carryTo(serverPort: number): Inside & { peers: Peer[]; listeners: CarriedListener[] } {
  const peers: Peer[] = [];
  const listeners: CarriedListener[] = [];
  return {
    ...{ peers, listeners },
    carry(outer: Socket, _port, listener) {
      listeners.push(listener);
      const inner = connect({ host: '127.0.0.1', port: serverPort, allowHalfOpen: true });
      let code = '';
      inner.once('connect', () => listener.connected('whole'));
      inner.on('error', (error: NodeJS.ErrnoException) => {
        code = error.code ?? '';
        outer.destroy();
      });
      inner.on('data', (bytes: Buffer) => listener.moved(bytes.length, 0));
      outer.on('data', (bytes: Buffer) => listener.moved(0, bytes.length));
      outer.pipe(inner);
      inner.pipe(outer);
      outer.resume();
      outer.once('close', () => {
        inner.destroy();
        listener.closed(code);
      });
      return () => {
        code = 'HOST';
        outer.destroy();
      };
    },
    async bindAs(peer) {
      peers.push(peer);
      const socket = createSocket('udp4');
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
      return socket;
    },
  };
}

describe('a granted port', () => {
  it('takes connections, counts them, and tells who came', async () => {
    const { port: server } = await serve((socket) => void socket.pipe(socket));
    const port = await freePort();
    const rig = await createRig({ inbound: [port] });
    await rig.gateway.openInbound(carryTo(server));
    const socket = await dial({ host: '127.0.0.1', port });
    const peerPort = socket.localPort;
    socket.end('hello');
    expect((await readAll(socket)).bytes.toString()).toBe('hello');
    await until(() => rig.gateway.use().opened === 1n && rig.gateway.use().open === 0);
    expect(rig.gateway.use()).toMatchObject({
      grants: [`tcp on port ${port}`],
      ...{ sentBytes: 5n, receivedBytes: 5n, refused: 0n, failed: 0n },
    });
    expect(rig.lines.find(({ level }) => level === 'info')?.fields).toMatchObject({
      ...{ direction: 'in', target: `port ${port}`, peer: `127.0.0.1:${peerPort}`, outcome: 'ended' },
    });
  });

  it('counts what the module does not take as failed', async () => {
    const port = await freePort();
    const rig = await createRig({ inbound: [port] });
    await rig.gateway.openInbound(carryTo(1));
    await readAll(await dial({ host: '127.0.0.1', port }));
    await until(() => rig.gateway.use().failed === 1n);
    expect(rig.lines.at(-1)?.fields.outcome).toBe('ECONNREFUSED');
  });

  it('is bounded, and closed with its connections by the gateway', async () => {
    const { port: server } = await serve((socket) => void socket.pipe(socket));
    const port = await freePort();
    const rig = await createRig({ inbound: [port], limits: { maxConnections: 1 } });
    await rig.gateway.openInbound(carryTo(server));
    const first = await dial({ host: '127.0.0.1', port });
    await until(() => rig.gateway.use().open === 1);
    expect((await readAll(await dial({ host: '127.0.0.1', port }))).error).toBe('ECONNRESET');
    expect(rig.gateway.use()).toMatchObject({ open: 1, refused: 1n });
    const ended = readAll(first);
    await rig.gateway.close();
    await ended;
    expect(rig.gateway.use().open).toBe(0);
    expect((await readAll(await dial({ host: '127.0.0.1', port }))).error).toBe('ECONNREFUSED');
  });

  it('flooded by strangers does not keep the module from its own targets', async () => {
    const { port: server } = await serve((socket) => void socket.pipe(socket));
    const port = await freePort();
    const target = `a.lan:${server}`;
    const rig = await createRig({
      ...{ inbound: [port], outbound: [target], private: [target], names: { 'a.lan': ['127.0.0.1'] } },
      limits: { newBurst: 2, newPerSecond: 0.001, maxConnections: 2 },
    });
    await rig.gateway.openInbound(carryTo(server));
    for (let count = 0; count < 5; count += 1) await dial({ host: '127.0.0.1', port });
    await until(() => rig.gateway.use().refused === 3n);
    await rig.dialName('a.lan', server);
    await until(() => rig.gateway.use().opened === 3n);
    expect(rig.gateway.use()).toMatchObject({ open: 3, refused: 3n });
  });

  it('that is taken is refused, with nothing left open', async () => {
    const { port: taken } = await serve(() => undefined);
    const free = await freePort();
    const rig = await createRig({ inbound: [free, taken], policy: { inboundAddress: '127.0.0.1' } });
    await expect(rig.gateway.openInbound(carryTo(1))).rejects.toMatchObject({ reason: 'NETWORK_UNAVAILABLE' });
    expect((await readAll(await dial({ host: '127.0.0.1', port: free }))).error).toBe('ECONNREFUSED');
  });

  it('carries UDP with the grant alone, each peer under its own address', async () => {
    const port = await freePort();
    const rig = await createRig({ inbound: [port], udp: true });
    // the module's server: hears on the granted port, which is another address's here
    const module = createSocket('udp4');
    onTestFinished(() => void module.close());
    const inside = carryTo(1);
    const bindAs = inside.bindAs;
    inside.bindAs = async (peer) => {
      const socket = await bindAs(peer);
      // there is one namespace here, so the port inside and the port outside cannot both be the same one
      const send = socket.send.bind(socket) as (bytes: Buffer, to: number, host: string) => void;
      Object.assign(socket, { send: (bytes: Buffer) => send(bytes, module.address().port, '127.0.0.1') });
      socket.prependListener('message', (_, from) => {
        if (from.port === module.address().port) from.port = port;
      });
      return socket;
    };
    module.on('message', (bytes, from) => module.send(`${bytes} back`, from.port, from.address));
    await new Promise<void>((resolve) => module.bind(0, '127.0.0.1', resolve));
    await rig.gateway.openInbound(inside);
    const clients = [await serveUdp(() => undefined), await serveUdp(() => undefined)];
    for (const { socket } of clients) {
      const answer = once(socket, 'message');
      socket.send('q', port, '127.0.0.1');
      const [bytes, from] = await answer;
      expect([String(bytes), from.port]).toEqual(['q back', port]);
    }
    expect(inside.peers).toEqual(clients.map(({ port: own }) => ({ address: '127.0.0.1', port: own })));
    expect(rig.gateway.use()).toMatchObject({ open: 2, opened: 2n, sentBytes: 12n, receivedBytes: 2n });
    await rig.gateway.close();
    expect(rig.gateway.use().open).toBe(0);
  });

  it('carries no UDP without it', async () => {
    const port = await freePort();
    const rig = await createRig({ inbound: [port] });
    await rig.gateway.openInbound(carryTo(1));
    const socket = createSocket('udp4');
    onTestFinished(() => void socket.close());
    await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve));
  });
});
