/**
 * A program of the host's own that runs in the network namespace of one module. It opens the listeners that the host has
 * planned, hands them to the host, and ends; or, where connections from outside are granted, stays and carries them to the
 * module's own server.
 *
 * It carries the bytes instead of handing the listening socket to the module, for this reason: a socket belongs to the
 * namespace in which it was made, whoever holds it. A module with a listening or an accepted socket of the host's
 * namespace can undo it with `connect(AF_UNSPEC)` and connect it anew, and so reach everything that the host reaches, its
 * loopback included. The module still sees the real peer: in its namespace every address is local, so this program
 * connects from the address and port of the peer itself.
 *
 * @see connect(2), network_namespaces(7); architecture, section 3
 */
import type { SendHandle } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readlinkSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { carry } from './net-carry.js';
import type { FromNamespace, NetListener, ToNamespace } from './net-wire.js';

function tell(message: FromNamespace, handle?: SendHandle): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) return resolve();
    // what cannot be told any more has no listener: the host is gone, and `disconnect` ends this program
    process.send(message, handle, {}, () => resolve());
  });
}

/** Opens one listener and gives it away: this process accepts nothing on it, the program of the module runs later. */
async function open({ key, transport, address, port }: NetListener): Promise<void> {
  if (transport === 'tcp') {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port }, resolve);
    });
    await tell({ kind: 'listener', key }, server);
    server.close();
    return;
  }
  const socket = address.includes(':') ? createSocket({ type: 'udp6', ipv6Only: true }) : createSocket('udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, resolve);
  });
  await tell({ kind: 'listener', key }, socket);
  socket.close();
}

/** False when it cannot be opened, which was told. */
async function tryOpen(listener: NetListener): Promise<boolean> {
  try {
    await open(listener);
    return true;
  } catch (error) {
    await tell({ kind: 'failed', key: listener.key, code: (error as NodeJS.ErrnoException).code ?? String(error) });
    return false;
  }
}

async function openAll({ namespace, listeners, stay }: Extract<ToNamespace, { kind: 'open' }>): Promise<void> {
  // A number of a process may have come to mean another one: better none of the listeners than one on the host's network.
  if (readlinkSync('/proc/self/ns/net') !== namespace) {
    await tell({ kind: 'failed', key: '', code: 'OTHER_NAMESPACE' });
    process.exit(1);
  }
  for (const listener of listeners) if (!(await tryOpen(listener))) process.exit(1);
  await tell({ kind: 'opened' });
  if (!stay) process.disconnect?.();
}

/** Does what the host says until the host is gone. */
function serve(): void {
  const carried = new Map<number, Socket>();
  const carryIn = (id: number, port: number, outer: Socket): void => {
    carried.set(id, outer);
    void tell({ kind: 'taken', id });
    void carry(outer, port, {
      connected: (shown) => void tell({ kind: 'connected', id, shown }),
      moved: (sent, received) => void tell({ kind: 'moved', id, sent, received }),
    }).then((code) => {
      carried.delete(id);
      return tell({ kind: 'closed', id, code });
    });
  };
  process.on('message', (message: ToNamespace, handle: unknown) => {
    if (message.kind === 'open') void openAll(message);
    else if (message.kind === 'drop') carried.get(message.id)?.destroy(new Error('the host has ended it'));
    else if (message.kind === 'bind') void tryOpen(message.listener);
    else if (handle instanceof Socket) carryIn(message.id, message.port, handle);
    else void tell({ kind: 'closed', id: message.id, code: 'GONE' });
  });
  process.on('disconnect', () => process.exit(0));
}

serve();
