// A host of its own process for the fuzz tests, so that its exit and its memory can be watched from outside.
// Prints one JSON line with its sockets, then answers `rss` on stdin with its memory and `stop` with its end.
import { createInterface } from 'node:readline';
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
say({
  pid: process.pid,
  before: host.socketPath('before'),
  after: await host.open('after'),
  bystander: await host.open('bystander'),
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
