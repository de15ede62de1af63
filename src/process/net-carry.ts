import { connect, type Socket, type TcpSocketConnectOpts } from 'node:net';
import type { CarriedListener, PeerShown } from '../network/inbound.js';

/** How often the bytes of one connection are told while they move, milliseconds. */
const TELL_EVERY_MS = 1_000;
/** How long the module's server may take to accept, milliseconds; its backlog is full or it is stopped. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Silence after which the kernel asks a peer whether it still lives, milliseconds. */
const KEEP_ALIVE_MS = 60_000;

/** Who hears of one carried connection; its end is what `carry` answers. */
export type CarryListener = Omit<CarriedListener, 'closed'>;

/** One way to reach the module's server, and what the module sees of the peer by it. */
interface Way {
  readonly options: TcpSocketConnectOpts;
  readonly shown: PeerShown;
}

/**
 * Carries one connection from outside to the module's own server, which sees the peer's address and port, until both ends
 * are done. While the module listens to nobody on that port the peer is refused.
 *
 * @param outer accepted by the host, nothing read from it yet
 * @returns     empty after an orderly end, else the code of what broke it
 */
export async function carry(outer: Socket, port: number, listener: CarryListener): Promise<string> {
  outer.on('error', () => undefined);
  // a handle that came from another process is made into a socket that knows of no half-open state
  outer.allowHalfOpen = true;
  outer.pause();
  const { remoteAddress, remotePort } = outer;
  if (remoteAddress === undefined || remotePort === undefined) return refuse(outer, 'GONE');
  let code = '';
  for (const { options, shown } of waysTo(remoteAddress, remotePort, port)) {
    const answer = await reach(options);
    if (outer.destroyed) {
      if (typeof answer !== 'string') answer.destroy();
      return 'GONE';
    }
    if (typeof answer !== 'string') {
      listener.connected(shown);
      return join(outer, answer, listener);
    }
    code = answer;
    if (code === 'ETIMEDOUT') break;
  }
  return refuse(outer, code);
}

/**
 * The peer's own address and port first; another port where a connection of that very pair is still held; no address where
 * the namespace cannot have it (a link-local one), or where the server listens on the other family alone.
 */
function waysTo(address: string, peerPort: number, port: number): Way[] {
  const peer = address.replace(/^::ffff:(?=[0-9.]+$)/i, '').replace(/%.*$/, '');
  const [own, other] = peer.includes(':') ? ['::1', '127.0.0.1'] : ['127.0.0.1', '::1'];
  const at = (host: string, shown: PeerShown, local: Partial<TcpSocketConnectOpts>): Way => ({
    options: { host, port, ...local },
    shown,
  });
  return [
    at(own, 'whole', { localAddress: peer, localPort: peerPort }),
    at(own, 'address', { localAddress: peer }),
    at(own, 'hidden', {}),
    at(other, 'hidden', {}),
  ];
}

function reach(options: TcpSocketConnectOpts): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket = connect({ ...options, allowHalfOpen: true });
    const timer = setTimeout(() => socket.destroy(errorOf('ETIMEDOUT')), CONNECT_TIMEOUT_MS);
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      resolve(error.code ?? 'UNKNOWN');
    });
  });
}

function join(outer: Socket, inner: Socket, listener: CarryListener): Promise<string> {
  return new Promise((resolve) => {
    let code = '';
    const told = { sent: 0, received: 0 };
    const tell = (): void => {
      const [sent, received] = [inner.bytesRead - told.sent, inner.bytesWritten - told.received];
      if (sent === 0 && received === 0) return;
      told.sent += sent;
      told.received += received;
      listener.moved(sent, received);
    };
    const timer = setInterval(tell, TELL_EVERY_MS);
    const pairs = [
      [outer, inner],
      [inner, outer],
    ] as const;
    for (const [from, to] of pairs) {
      from.setNoDelay(true);
      from.on('error', (error: NodeJS.ErrnoException) => {
        code ||= error.code ?? 'UNKNOWN';
      });
      // A broken side breaks the other the same way: a module tells a peer that vanished from one that was done.
      from.on('close', (broken) => {
        if (broken && !to.destroyed) to.resetAndDestroy();
        else if (!to.destroyed) to.end();
        if (!outer.destroyed || !inner.destroyed) return;
        clearInterval(timer);
        tell();
        resolve(code);
      });
      from.pipe(to);
    }
    outer.setKeepAlive(true, KEEP_ALIVE_MS);
  });
}

/** Ends a connection that nobody inside takes, as a port without a server would. */
function refuse(outer: Socket, code: string): string {
  if (!outer.destroyed) outer.resetAndDestroy();
  return code;
}

function errorOf(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}
