import { copyFile, link, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Keeps the engine's files as they were found until they are known to be whole. The engine removes at its opening what its
 * list of files does not name; when that list is the damage, it would take with it what could have been saved.
 */
export async function keepAsFound(engineDir: string, keptDir: string): Promise<void> {
  await rm(keptDir, { recursive: true, force: true });
  await mkdir(keptDir, { mode: 0o700 });
  for (const name of await readdir(engineDir)) {
    if (name === 'LOCK') continue;
    const [from, to] = [join(engineDir, name), join(keptDir, name)];
    // tables are never written to again, so a second name costs nothing; not every file system has them
    const isTable = /\.(ldb|sst)$/.test(name);
    if (!isTable || !(await linked(from, to))) await copyFile(from, to);
  }
}

/** Lets go of what was kept: the storage is whole. */
export async function forgetAsFound(keptDir: string): Promise<void> {
  await rm(keptDir, { recursive: true, force: true });
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch {
    return false;
  }
}
