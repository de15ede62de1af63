import { writeSync } from 'node:fs';
import { createPlace } from '../sandbox/spawn-module.js';

/**
 * A small host for tests that kill it: starts the shell script given as its first argument as a module, prints what the
 * module writes, and stays until it is killed.
 */
const place = await createPlace('confined', process.argv[3]);
const running = await place.start(process.argv[2] ?? '', {
  onLine: ({ text }) => {
    writeSync(1, `${text}\n`);
  },
});
writeSync(1, `started ${running.pid}\n`);
setInterval(() => undefined, 60_000);
