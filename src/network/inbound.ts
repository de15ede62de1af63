import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { HostError } from '../contract/error.js';
import { parseAddress } from './address-policy.js';
import type { Ledger } from './counters.js';
import { endpointText } from './grants.js';
import type { PlannedInbound } from './plan.js';
import { closerOf, type ExchangeSpec, type Exchanges, type FarEnd, type FarListener } from './udp.js';

/** Somebody outside who came to a granted port. */
export interface Peer {
  /** IP literal; IPv4 in its own form even where it came over an IPv6 socket. */
  readonly address: string;
  readonly port: number;
}

/** How far the module can see whom it speaks with: address and port, the address alone, or neither. */
export type PeerShown = 'whole' | 'address' | 'hidden';

/** Who hears of one connection that is carried into the module's namespace. */
export interface CarriedListener {
  /** The module's server has accepted it. */
  connected(shown: PeerShown): void;
  /** Bytes since the last call: `sent` by the module, `received` by it. */
  moved(sent: number, received: number): void;
  /** Told once, and nothing after it; empty when both sides have ended in order. */
  closed(code: string): void;
}

/** Work in the module's namespace for what comes from outside. */
export interface Inside {
  /**
   * Takes over a connection that was accepted paused, nothing read from it, and carries it to the module's own server on
   * `port` inside.
   *
   * @returns ends the connection
   */
  carry(outer: Socket, port: number, listener: CarriedListener): () => void;
  /**
   * Opens a datagram socket inside that is bound to the peer's own address and port, so that the module sees him.
   *
   * @throws HostError NETWORK_UNAVAILABLE
   */
  bindAs(peer: Peer): Promise<DatagramSocket>;
}

/** What the ports of one module are made of. */
export interface InboundOptions {
  readonly ports: readonly PlannedInbound[];
  readonly inside: Inside;
  readonly ledger: Ledger;
  readonly exchanges: Exchanges;
}

/** Granted ports, open on this machine. */
export interface InboundPorts {
  /** Closes the ports and breaks the connections that came in by them. */
  close(): Promise<void>;
}

/** Connections that wait to be accepted, per port. */
const BACKLOG = 128;
/** How long connections that the host ends may take to be gone, milliseconds: another process lets go of them. */
const END_TIMEOUT_MS = 2_000;

/**
 * Opens the granted ports of one module on this machine. The module never gets hold of these sockets: one that listens or
 * was accepted can be turned around (`connect` with AF_UNSPEC, then to anywhere), and would reach what the host reaches.
 *
 * @throws HostError NETWORK_UNAVAILABLE, naming the port; nothing is open then
 */
export async function openInboundPorts({ ports, inside, ledger, exchanges }: InboundOptions): Promise<InboundPorts> {
  const servers: Server[] = [];
  const closers: (() => void)[] = [];
  const carried = new Set<Carried>();
  const close = async (): Promise<void> => {
    for (const closeSocket of closers) closeSocket();
    const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const connection of carried) connection.end();
    const timer = setTimeout(() => {
      for (const connection of carried) connection.over('closed');
    }, END_TIMEOUT_MS);
    await Promise.all([...closed, ...[...carried].map(({ ended }) => ended)]);
    clearTimeout(timer);
  };
  try {
    for (const planned of ports) {
      const server = await listen(planned);
      servers.push(server);
      server.on('connection', (outer) => accept(outer, planned.port, inside, ledger, carried));
      if (planned.udp) {
        const socket = await bind(planned);
        closers.push(closerOf(socket));
        serveDatagrams(socket, planned, inside, exchanges);
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

/** One connection that is carried elsewhere. */
interface Carried {
  end(): void;
  over(outcome: string): void;
  readonly ended: Promise<void>;
}

function accept(outer: Socket, port: number, inside: Inside, ledger: Ledger, carried: Set<Carried>): void {
  outer.on('error', () => undefined);
  const peer = peerOf(outer.remoteAddress, outer.remotePort);
  const text = peer && endpointText({ host: peer.address, port: peer.port });
  const entry = ledger.begin({
    ...{ transport: 'tcp', direction: 'in', target: `port ${port}` },
    ...(text === undefined ? {} : { peer: text }),
  });
  if (entry === undefined || text === undefined) {
    outer.resetAndDestroy();
    entry?.ended('GONE');
    return;
  }
  let resolve = (): void => undefined;
  const connection: Carried = {
    end: () => undefined,
    over(outcome) {
      carried.delete(connection);
      entry.ended(outcome);
      resolve();
    },
    ended: new Promise((done) => {
      resolve = done;
    }),
  };
  carried.add(connection);
  connection.end = inside.carry(outer, port, {
    connected: (shown) => entry.opened(shown === 'whole' ? text : `${text}, ${SHOWN[shown]}`),
    moved(sent, received) {
      entry.sent(sent);
      entry.received(received);
    },
    closed: (code) => connection.over(code === '' ? 'ended' : code),
  });
}

const SHOWN = { address: 'by its address alone to the module', hidden: 'hidden from the module' } as const;

/** The peer's datagrams go to the module from a socket that bears his address; what the module answers there goes to him. */
function serveDatagrams(socket: DatagramSocket, planned: PlannedInbound, inside: Inside, exchanges: Exchanges): void {
  const { port, address: own = '' } = planned;
  socket.on('error', () => undefined);
  socket.on('message', (datagram, { address, port: peerPort }) => {
    const peer = peerOf(address, peerPort);
    if (peer === undefined) return;
    const text = endpointText({ host: peer.address, port: peer.port });
    exchanges.pass(
      `in ${own} ${port} ${text}`,
      datagram,
      (): ExchangeSpec => ({
        parties: { transport: 'udp', direction: 'in', target: `port ${port}`, peer: text },
        open: async (listener) => ({ end: serveAs(await inside.bindAs(peer), peer, port, listener), address: text }),
        answer: (payload) => socket.send(payload, peerPort, address, () => undefined),
      }),
    );
  });
}

function serveAs(socket: DatagramSocket, peer: Peer, port: number, listener: FarListener): FarEnd {
  const server = peer.address.includes(':') ? '::1' : '127.0.0.1';
  const close = closerOf(socket);
  socket.on('message', (payload, from) => {
    if (from.port === port) listener.datagram(payload);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    close();
    listener.failed(error.code ?? 'UNKNOWN', undefined);
  });
  return { send: (datagram) => socket.send(datagram, port, server, () => undefined), close };
}

function peerOf(address: string | undefined, port: number | undefined): Peer | undefined {
  if (address === undefined || port === undefined) return undefined;
  // a zone names a link of this machine, and says nothing inside
  const parsed = parseAddress(address.replace(/%.*$/, ''));
  return parsed && { address: parsed.text, port };
}

function listen(planned: PlannedInbound): Promise<Server> {
  return openAt('tcp', planned, (host, port, done) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    server.once('error', done);
    return server.listen({ host, port, backlog: BACKLOG }, done);
  });
}

function bind(planned: PlannedInbound): Promise<DatagramSocket> {
  return openAt('udp', planned, (host, port, done) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.once('error', done);
    return socket.bind(port, host, () => done());
  });
}

/** Opens the planned address, or all of both families; IPv4 alone where the machine has no IPv6. */
async function openAt<T extends { close(): unknown }>(
  kind: 'tcp' | 'udp',
  { port, address }: PlannedInbound,
  open: (host: string, port: number, done: (error?: NodeJS.ErrnoException) => void) => T,
): Promise<T> {
  for (const host of address === undefined ? ['::', '0.0.0.0'] : [address]) {
    let listener: T | undefined;
    const code = await new Promise<string | undefined>((resolve) => {
      listener = open(host, port, (error) => resolve(error && (error.code ?? 'UNKNOWN')));
    });
    if (code === undefined) return listener as T;
    listener?.close();
    if (host !== '::' || !isWithoutIpv6(code)) throw portUnavailable(kind, port, code);
  }
  throw portUnavailable(kind, port, 'EAFNOSUPPORT');
}

function isWithoutIpv6(code: string): boolean {
  return code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL';
}

function portUnavailable(kind: string, port: number, code: string): HostError {
  const cures: Readonly<Record<string, string>> = {
    EADDRINUSE: 'another program has it: stop that one, or withdraw the grant',
    EACCES: 'ports under 1024 need a privilege: CAP_NET_BIND_SERVICE, or sysctl net.ipv4.ip_unprivileged_port_start',
  };
  const why = cures[code] ?? `the system says ${code}`;
  return new HostError('NETWORK_UNAVAILABLE', `the network grant '${kind} on port ${port}' cannot be had: ${why}`);
}
