/** Installs the compiler of the probes in C, ahead of the tests; `npm run setup -- --ci` calls it. */
import { execFileSync } from 'node:child_process';
import { compilerPresence } from './compile.js';

const PACKAGES = ['gcc', 'libc6-dev'];
/** Seconds that apt waits for another apt to finish. */
const LOCK = ['-o', 'DPkg::Lock::Timeout=120'];

if (!compilerPresence().available) {
  const root = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  const [program = '', ...before] = [...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...LOCK, '-q'];
  try {
    execFileSync(program, [...before, 'update'], { stdio: 'inherit' });
    execFileSync(program, [...before, 'install', '-y', '--no-install-recommends', ...PACKAGES], { stdio: 'inherit' });
  } catch {
    // What apt said stands above; whether the compiler is there is asked below.
  }
}
const presence = compilerPresence();
if (!presence.available) {
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
