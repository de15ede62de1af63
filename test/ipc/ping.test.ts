import { Server, ServerCredentials } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import { createPinger } from '../../src/ipc/ping.js';

it('holds the place where the library keeps its HTTP/2 servers', async () => {
  const server = new Server();
  const clock = createSystemClock();
  // before the injector there is nothing to watch
  expect(() => createPinger(server, clock)).toThrow();
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  expect(await createPinger(server, clock).ping(1)).toBe(true);
  expect(() => createPinger({} as Server, clock)).toThrow();
  injector.destroy();
  server.forceShutdown();
});
