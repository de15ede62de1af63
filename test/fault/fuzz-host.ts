// A host of its own process for the fuzz tests, so that its exit and its memory can be watched from outside.
// Prints one JSON line with its sockets, then answers `rss` on stdin with its memory and `stop` with its end.
import { createInterface } from 'node:readline';
import { credentials } from '@grpc/grpc-js';
import { SessionServiceClient } from '../../gen/ts/modhost/v1/session.js';
import { PERMISSIONS } from '../../src/contract/permission.js';
import { createExternalHost } from '../host/external-host.js';

const capabilities = PERMISSIONS.map((permission) => permission.toLowerCase());
const host = await createExternalHost({
  modules: [
    { name: 'before', capabilities },
    { name: 'after', capabilities },
    { name: 'bystander', capabilities },
  ],
  // raised so that the fuzzed bytes reach decoders and handlers, not the quota
  callsPerSecond: 10_000_000,
});
await host.devchain.control.mine(110);
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
/** Opens a module's session and says Ready: one that never does is ended at its start deadline. */
const openReady = async (name: string): Promise<string> => {
  const socket = await host.open(name);
  const client = new SessionServiceClient(`unix:${socket}`, credentials.createInsecure());
  await new Promise<void>((resolve, reject) =>
    client.ready({}, (error) => (error === null ? resolve() : reject(error))),
  );
  client.close();
  return socket;
};
say({
  pid: process.pid,
  before: host.socketPath('before'),
  after: await openReady('after'),
  bystander: await openReady('bystander'),
});
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'rss') {
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    say({ rss: process.memoryUsage().rss, handles: process.getActiveResourcesInfo().length });
  } else if (line === 'stop') {
    await host.dispose();
    say({ stopped: true });
    break;
  }
}
