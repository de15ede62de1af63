import { execFileSync } from 'node:child_process';
import type { ToolPresence } from './toolchain.js';

/** Seconds that apt waits for another apt to finish. */
const LOCK = ['-o', 'DPkg::Lock::Timeout=120'];

/**
 * Installs what a test folder needs unless it is there, as root or by sudo; the work of its `prepare.ts`. Sets the exit code
 * when it is still missing afterwards.
 */
export async function installUnless(
  present: () => ToolPresence | Promise<ToolPresence>,
  packages: readonly string[],
): Promise<void> {
  if (!(await present()).available) {
    const root = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
    const [program = '', ...before] = [...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...LOCK, '-q'];
    try {
      execFileSync(program, [...before, 'update'], { stdio: 'inherit' });
      execFileSync(program, [...before, 'install', '-y', '--no-install-recommends', ...packages], { stdio: 'inherit' });
    } catch {
      // What apt said stands above; whether it is there now is asked below.
    }
  }
  const presence = await present();
  if (presence.available) return;
  process.stderr.write(`${presence.reason}\n`);
  process.exitCode = 1;
}
