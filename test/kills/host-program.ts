import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { createSystemClock } from '../../src/core/clock.js';
import type { LogFields, Logger } from '../../src/core/logger.js';
import { createHost } from '../../src/host/host.js';
import { createDevchain } from '../../src/node/devchain/devchain.js';

/**
 * A whole host in one directory, whose `m` holds one module. It says `starting` and `started`, loads the module and says `loaded`, or `failed` and why; at
 * `stop` on its standard input it stops and says `stopped`.
 */
const [root = '', name = ''] = process.argv.slice(2);
const say = (line: string): void => void writeSync(1, `${line}\n`);

/** What goes wrong is what a test wants to read. */
function createLoudLogger(): Logger {
  const tell = (fields: LogFields, message: string): void => {
    const { err, ...rest } = fields;
    say(`log ${message} ${JSON.stringify(rest)} ${err instanceof Error ? err.message : ''}`);
  };
  const logger: Logger = { trace() {}, debug() {}, info() {}, warn: tell, error: tell, child: () => logger };
  return logger;
}

const logger = createLoudLogger();
const host = createHost({
  modulesDir: join(root, 'm'),
  dataDir: join(root, 'd'),
  socketDir: join(root, 's'),
  node: createDevchain({ clock: createSystemClock(), logger }),
  allowUnsigned: [name],
  // what is tried is what the host keeps, on machines that can confine as on others
  sandboxMinimum: 'none',
  logger,
});
process.stdin.on('data', async (bytes: Buffer) => {
  if (!bytes.toString().includes('stop')) return;
  await host.stop();
  say('stopped');
  process.exit(0);
});
say('starting');
await host.start();
say('started');
host.load(name).then(
  () => say('loaded'),
  (error: { reason?: string; message?: string }) => say(`failed ${error.reason} ${error.message}`),
);
