import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A door in front of a port: bytes pass both ways while it is open, and nobody connects while it is closed. */
export interface Forwarder {
  open(): Promise<void>;
  /** Ends every connection that passes; idempotent. */
  close(): Promise<void>;
}

/** A forwarder on loopback, closed at first. */
export function createForwarder(fromPort: number, toPort: number): Forwarder {
  const sockets = new Set<Socket>();
  let server: Server | undefined;

  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  };

  const pass = (outer: Socket): void => {
    const inner = connect(toPort, '127.0.0.1');
    keep(outer);
    keep(inner);
    outer.pipe(inner);
    inner.pipe(outer);
    // One side gone means both: a half-open connection would hide that the node has ended.
    outer.on('error', () => inner.destroy());
    inner.on('error', () => outer.destroy());
    outer.on('close', () => inner.destroy());
    inner.on('close', () => outer.destroy());
  };

  return {
    async open() {
      if (server !== undefined) return;
      server = createServer(pass);
      server.listen(fromPort, '127.0.0.1');
      await once(server, 'listening');
    },
    async close() {
      const closing = server;
      server = undefined;
      if (closing === undefined) return;
      const closed = once(closing, 'close');
      closing.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
