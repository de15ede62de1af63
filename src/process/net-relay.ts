import type { ChildProcess } from 'node:child_process';
import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { CarriedListener, Inside } from '../network/inbound.js';
import type { FromNamespace, ToNamespace } from './net-wire.js';

/** How often a relay that has ended is replaced within the window before its module is given up. */
const MAX_RESTARTS = 3;
/** That window, milliseconds. */
const RESTART_WINDOW_MS = 60_000;
/** Code of connections that broke because the relay did. */
export const RELAY_GONE = 'RELAY_GONE';

/** Carries what comes from outside into a module's namespace. */
export interface InboundRelay extends Inside {
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

interface Carried {
  readonly socket: Socket;
  readonly listener: CarriedListener;
}

interface Wanted {
  readonly resolve: (socket: UdpSocket) => void;
  readonly reject: (error: HostError) => void;
}

/**
 * Makes the host's end of a relay. When the program in the namespace ends, its connections are broken, and it is replaced
 * at once; the ports stay open meanwhile, and connections that come in are refused.
 */
export function createInboundRelay({ first, again, clock, log, onBroken }: RelayOptions): InboundRelay {
  const carried = new Map<number, Carried>();
  const wanted = new Map<string, Wanted>();
  const restarts: number[] = [];
  let program: ChildProcess | undefined;
  let next = 1;
  let closed = false;
  let replacing: Promise<void> | undefined;

  const end = (id: number, code: string): void => {
    const entry = carried.get(id);
    if (entry === undefined) return;
    carried.delete(id);
    // the host's own handle, where the program has not told that it has another
    entry.socket.destroy();
    entry.listener.closed(code);
  };

  const refuseWanted = (key: string, code: string): void => {
    wanted.get(key)?.reject(new HostError('NETWORK_UNAVAILABLE', `the peer's address cannot be had inside: ${code}`));
    wanted.delete(key);
  };

  const onMessage = (message: FromNamespace, handle: unknown): void => {
    if (message.kind === 'taken') carried.get(message.id)?.socket.destroy();
    else if (message.kind === 'connected') carried.get(message.id)?.listener.connected(message.shown);
    else if (message.kind === 'moved') carried.get(message.id)?.listener.moved(message.sent, message.received);
    else if (message.kind === 'closed') end(message.id, message.code);
    else if (message.kind === 'failed') refuseWanted(message.key, message.code);
    else if (message.kind === 'listener') {
      const want = wanted.get(message.key);
      wanted.delete(message.key);
      if (want === undefined) (handle as UdpSocket).close();
      else want.resolve(handle as UdpSocket);
    }
  };

  const use = (child: ChildProcess): void => {
    program = child;
    child.on('message', onMessage);
    const onExit = (code: number | null, signal: NodeJS.Signals | null): void => {
      child.off('message', onMessage);
      program = undefined;
      for (const id of [...carried.keys()]) end(id, RELAY_GONE);
      for (const key of [...wanted.keys()]) refuseWanted(key, RELAY_GONE);
      if (!closed) replacing = replace(signal ?? `code ${code}`);
    };
    // it may have ended before anybody looked
    if (child.exitCode !== null || child.signalCode !== null) onExit(child.exitCode, child.signalCode);
    else child.once('exit', onExit);
  };

  const replace = async (how: string): Promise<void> => {
    let cause: unknown;
    while (!closed) {
      const now = clock.monotonicMs();
      while (restarts.length > 0 && now - (restarts[0] ?? now) > RESTART_WINDOW_MS) restarts.shift();
      if (restarts.length >= MAX_RESTARTS) {
        const text = `connections from outside cannot be carried to the module any more: the relay ended with ${how}`;
        onBroken(new HostError('NETWORK_UNAVAILABLE', text, { cause }));
        return;
      }
      restarts.push(now);
      log.warn({ how }, 'the relay of connections from outside has ended; another one takes its place');
      try {
        const child = await again();
        if (closed) await killProgram(child);
        else use(child);
        return;
      } catch (error) {
        cause = error;
      }
    }
  };

  const send = (message: ToNamespace, socket: Socket | undefined, onFailure: () => void): void => {
    // Kept open here until the program has it: Node forgets, open, a handle whose receiver dies before it has answered.
    const sent = (error: Error | null): void => void (error !== null && onFailure());
    if (program?.connected) program.send(message, socket, { keepOpen: true }, sent);
    else onFailure();
  };

  use(first);
  return {
    carry(socket, port, listener) {
      const id = next++;
      socket.on('error', () => undefined);
      // Node would count it among those of a server whose end it then waits for, whatever becomes of the program.
      Object.assign(socket, { server: undefined });
      carried.set(id, { socket, listener });
      send({ kind: 'inbound', id, port }, socket, () => end(id, RELAY_GONE));
      // the program breaks it and tells the end; where it is gone, the connection is as well
      return () => send({ kind: 'drop', id }, undefined, () => undefined);
    },
    bindAs: ({ address, port }) =>
      new Promise((resolve, reject) => {
        const key = `peer ${next++}`;
        wanted.set(key, { resolve, reject });
        const listener = { key, transport: 'udp', address, port } as const;
        send({ kind: 'bind', listener }, undefined, () => refuseWanted(key, RELAY_GONE));
      }),
    async close() {
      closed = true;
      await replacing;
      await killProgram(program);
      for (const id of [...carried.keys()]) end(id, '');
      for (const key of [...wanted.keys()]) refuseWanted(key, RELAY_GONE);
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
