import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { chmod, copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ToolPresence } from '../../toolchain.js';

const FOLDER = import.meta.dirname;
const COMPILER = '/usr/bin/gcc';

/** Whether the probes in C can be built here. */
export function compilerPresence(): ToolPresence {
  try {
    accessSync(COMPILER, constants.X_OK);
    accessSync('/usr/include/stdio.h');
    return { available: true };
  } catch {
    return { available: false, reason: 'no C compiler (apt install gcc libc6-dev)' };
  }
}

/**
 * Builds the probes into a directory that every user can read. The program is static, so that it needs nothing of what
 * the sandbox shows; where this is root there is a copy with the set-user-id bit too.
 */
export async function compileProbes(build: string): Promise<void> {
  const sources = (await readdir(join(FOLDER, 'c'))).filter((name) => name.endsWith('.c'));
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-static', '-o', join(build, 'probes')];
  execFileSync(COMPILER, [...flags, ...sources.map((name) => join(FOLDER, 'c', name))], { stdio: 'inherit' });
  await copyFile(join(FOLDER, 'probes.py'), join(build, 'probes.py'));
  for (const name of ['probes', 'probes.py']) await chmod(join(build, name), 0o555);
  if (process.getuid?.() !== 0) return;
  await copyFile(join(build, 'probes'), join(build, 'probes-setuid'));
  await chmod(join(build, 'probes-setuid'), 0o4555);
}
