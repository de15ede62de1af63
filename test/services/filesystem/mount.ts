import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireToolchain } from '../../toolchain.js';

/** Whether this process may mount; an ordinary user may not, and root in a container often may not either. */
export function canMount(): boolean {
  if (process.getuid?.() !== 0) return false;
  const dir = mkdtempSync(join(tmpdir(), 'mhm-'));
  try {
    mountMemory(dir, '4096');
    execFileSync('umount', [dir]);
    return true;
  } catch {
    return !requireToolchain('mounts', { available: false, reason: 'root may not mount here' }).skip;
  } finally {
    rmdirSync(dir);
  }
}

/** Mounts a file system in memory, of this size in bytes. */
export function mountMemory(dir: string, size: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0755`, 'modhost-test', dir], { stdio: 'pipe' });
}
