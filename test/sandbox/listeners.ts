import { createServer, type Server } from 'node:net';

/** Listeners on this machine for a module to try and reach; each ends what connects. */
export interface Listeners {
  listen(target: { port: number; host: string } | { path: string }): Promise<Server>;
  close(): void;
}

export function createListeners(): Listeners {
  const servers: Server[] = [];
  return {
    listen: (target) =>
      new Promise((resolve) => {
        const server = createServer((socket) => socket.end());
        servers.push(server);
        server.listen(target, () => resolve(server));
      }),
    close() {
      for (const server of servers) server.close();
    },
  };
}
