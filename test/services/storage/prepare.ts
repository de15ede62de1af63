/** Installs strace, which shows what was synced before each answer, ahead of the tests; `npm run setup -- --ci` calls it. */
import { execFileSync } from 'node:child_process';
import { stracePresence } from './strace-presence.js';

/** Seconds that apt waits for another apt to finish. */
const LOCK = ['-o', 'DPkg::Lock::Timeout=120'];

if (!(await stracePresence()).available) {
  const root = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const [program = '', ...before] = [...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...LOCK, '-q'];
  try {
    execFileSync(program, [...before, 'update'], { stdio: 'inherit' });
    execFileSync(program, [...before, 'install', '-y', '--no-install-recommends', 'strace'], { stdio: 'inherit' });
  } catch {
    // What apt said stands above; whether strace is there is asked below.
  }
}
const presence = await stracePresence();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
