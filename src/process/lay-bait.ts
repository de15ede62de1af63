import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type ListenOptions, type Server } from 'node:net';
import type { Bait, LayBait } from '../sandbox/bait.js';

/** Makes what `openSandbox` tries the network of a sandbox with. */
export function createLayBait(): LayBait {
  return async (socketPaths) => {
    const reached = new Set<string>();
    const servers: Server[] = [];
    const udp = createSocket('udp4', () => reached.add('send to the host by UDP'));
    const close = async (): Promise<void> => {
      for (const server of servers) server.close();
      await new Promise<void>((resolve) => udp.close(resolve));
    };
    const listen = async (options: ListenOptions, act: string): Promise<Server> => {
      const server = createServer((socket) => {
        reached.add(act);
        socket.on('error', () => undefined);
        socket.destroy();
      });
      server.unref();
      servers.push(server);
      server.listen(options);
      await once(server, 'listening');
      return server;
    };
    try {
      udp.unref();
      udp.bind(0, '127.0.0.1');
      await once(udp, 'listening');
      const abstractName = `modhost-canary-${randomBytes(8).toString('hex')}`;
      const tcp = await listen({ port: 0, host: '127.0.0.1' }, 'connect to the host by TCP');
      await listen({ path: `\0${abstractName}` }, 'connect to an abstract socket of the host');
      for (const path of socketPaths) await listen({ path }, `connect to ${path}`);
      const bait: Bait = {
        tcpPort: (tcp.address() as AddressInfo).port,
        udpPort: udp.address().port,
        abstractName,
        reached: () => [...reached],
        close,
      };
      return bait;
    } catch (error) {
      await close();
      throw error;
    }
  };
}
