// A host in a process of its own, in a directory that outlives it, whose one module is external: the test is the module.
// Answers one JSON line for each line on standard input: the resident memory now, and the most since the line before.
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createSystemClock } from '../../../src/core/clock.js';
import { createSilentLogger } from '../../../src/core/logger.js';
import { createHost } from '../../../src/host/host.js';
import { createDevchain } from '../../../src/node/devchain/devchain.js';

/** Between two looks at the memory. */
const SAMPLE_MS = 20;

const [dir = ''] = process.argv.slice(2);
const logger = createSilentLogger();
const host = createHost({
  modulesDir: join(dir, 'm'),
  dataDir: join(dir, 'd'),
  socketDir: join(dir, 's'),
  node: createDevchain({ clock: createSystemClock(), logger }),
  modules: { probe: { run: 'external', unsigned: true } },
  sandboxMinimum: 'none',
  logger,
});
await host.start();
await host.load('probe');
const say = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
let peak = 0;
const sampling = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, SAMPLE_MS);
say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'stop') break;
  globalThis.gc?.();
  const rss = process.memoryUsage.rss();
  say({ rss, peak: Math.max(peak, rss) });
  peak = 0;
}
clearInterval(sampling);
await host.stop();
say({ stopped: true });
process.stdin.destroy();
