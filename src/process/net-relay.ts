import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { FromNamespace, PeerShown, ToNamespace } from './net-wire.js';

/** How often a relay that has ended is replaced within the window before its module is given up. */
const MAX_RESTARTS = 3;
/** That window, milliseconds. */
const RESTART_WINDOW_MS = 60_000;
/** Error code of connections that broke because the relay did. */
export const RELAY_GONE = 'RELAY_GONE';

/** Who hears of one connection that is carried into a module's namespace. */
export interface CarriedListener {
  /** The module's server has accepted it. */
  connected(shown: PeerShown): void;
  /** Bytes since the last call. */
  moved(sent: number, received: number): void;
  /** Told once, and nothing after it; empty when both sides have ended in order. */
  closed(code: string): void;
}

/** Carries accepted connections to the module's own server. */
export interface InboundRelay {
  /**
   * Takes a connection that was accepted paused, nothing read from it; the caller lets go of it.
   *
   * @param port on which the module's server listens inside
   * @returns    ends the connection
   */
  carry(socket: Socket, port: number, listener: CarriedListener): () => void;
  close(): Promise<void>;
}

/** What a relay is made of. */
export interface RelayOptions {
  /** The program in the namespace, ready for connections. */
  readonly first: ChildProcess;
  /** Puts another one in its place. */
  readonly again: () => Promise<ChildProcess>;
  readonly clock: Clock;
  readonly log: Logger;
  /** The relay ends over and over: the module would be reachable no more and not know it. */
  readonly onBroken: (error: HostError) => void;
}

/**
 * Makes the host's end of a relay. When the program in the namespace ends, its connections are broken, and it is replaced
 * at once; the ports stay open meanwhile, and connections that come in are refused.
 */
export function createInboundRelay({ first, again, clock, log, onBroken }: RelayOptions): InboundRelay {
  const carried = new Map<number, { listener: CarriedListener; socket: Socket }>();
  const restarts: number[] = [];
  let program: ChildProcess | undefined;
  let next = 1;
  let closed = false;
  let replacing: Promise<void> | undefined;

  const end = (id: number, code: string): void => {
    const entry = carried.get(id);
    if (entry === undefined) return;
    carried.delete(id);
    // one that was still waiting for its turn to be handed over is here
    entry.socket.destroy();
    entry.listener.closed(code);
  };

  const onMessage = (message: FromNamespace): void => {
    if (message.kind === 'connected') carried.get(message.id)?.listener.connected(message.shown);
    else if (message.kind === 'moved') carried.get(message.id)?.listener.moved(message.sent, message.received);
    else if (message.kind === 'closed') end(message.id, message.code);
  };

  const use = (child: ChildProcess): void => {
    program = child;
    child.on('message', onMessage);
    child.once('exit', (code, signal) => {
      child.off('message', onMessage);
      program = undefined;
      for (const id of [...carried.keys()]) end(id, RELAY_GONE);
      if (!closed) replacing = replace(signal ?? `code ${code}`);
    });
    // the first one may have ended before anybody looked
    if (child.exitCode !== null || child.signalCode !== null) child.emit('exit', child.exitCode, child.signalCode);
  };

  const replace = async (how: string): Promise<void> => {
    const now = clock.monotonicMs();
    while (restarts.length > 0 && now - (restarts[0] ?? now) > RESTART_WINDOW_MS) restarts.shift();
    restarts.push(now);
    try {
      if (restarts.length > MAX_RESTARTS) throw new Error(`it has ended ${restarts.length} times`);
      log.warn(
        { how },
        'the relay of inbound connections has ended; its connections are broken, another one takes its place',
      );
      const child = await again();
      if (closed) child.kill('SIGKILL');
      else use(child);
    } catch (cause) {
      if (!closed)
        onBroken(new HostError('NETWORK_UNAVAILABLE', `connections from outside cannot be kept up: ${how}`, { cause }));
    }
  };

  use(first);
  return {
    carry(socket, port, listener) {
      const id = next++;
      if (program === undefined || !program.connected) {
        socket.destroy();
        listener.closed(RELAY_GONE);
        return () => undefined;
      }
      socket.on('error', () => undefined);
      carried.set(id, { listener, socket });
      program.send({ kind: 'inbound', id, port } satisfies ToNamespace, socket, (error) => {
        if (error !== null) end(id, RELAY_GONE);
      });
      return () => {
        if (carried.has(id) && program?.connected) program.send({ kind: 'drop', id } satisfies ToNamespace);
      };
    },
    async close() {
      closed = true;
      await replacing;
      for (const id of [...carried.keys()]) end(id, '');
      await killProgram(program);
    },
  };
}

/** Ends the program in the namespace, with whatever it has started, and waits for its end. */
export async function killProgram(child: ChildProcess | undefined): Promise<void> {
  if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    // it leads a group of its own
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL');
  }
  await ended;
}
