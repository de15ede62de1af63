import { readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createHost } from '../../src/host/host.js';
import { createDevchain } from '../../src/node/devchain/devchain.js';

/**
 * The whole host for tests that kill it over and over in one directory, whose `m` holds the modules. It starts, says what
 * it found left of spawns, and loads the modules named by its further arguments; named `sweep` alone, it stops instead.
 */
const [root = '', ...names] = process.argv.slice(2);
const say = (line: string): void => void writeSync(1, `${line}\n`);
const logger = createSilentLogger();
const socketDir = join(root, 's');
const host = createHost({
  modulesDir: join(root, 'm'),
  dataDir: join(root, 'd'),
  socketDir,
  node: createDevchain({ clock: createSystemClock(), logger }),
  allowUnsigned: names,
  sandboxMinimum: 'none',
  modules: Object.fromEntries(names.map((name) => [name, { network: true }])),
  logger,
});
say('booting');
await host.start();
say(`left ${readdirSync(socketDir).filter((name) => /^(?:[0-9a-f]{8}|canary-.*)$/.test(name)).length}`);
if (names[0] === 'sweep') {
  await host.stop();
  process.exit(0);
}
say('starting');
for (const name of names) host.load(name).catch(() => undefined);
setInterval(() => undefined, 60_000);
