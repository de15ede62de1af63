import { chmod, lchown, lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from '../contract/error.js';
import type { ModuleDirectories, ModuleIdentity } from './engine.js';

/** Mode of data and socket directory: the module's user alone, and root. */
const PRIVATE_MODE = 0o700;

/**
 * Gives a module's data and socket directory to the module's user and closes them to all others. What lies in the data
 * directory is given as well when the directory belonged to somebody else, for example after a restore.
 *
 * No module may be running in them: a running one could swap what is walked over.
 */
export async function grantDirectories(
  directories: ModuleDirectories,
  identity: ModuleIdentity | undefined,
): Promise<void> {
  for (const dir of [directories.data, directories.socket]) {
    await chmod(dir, PRIVATE_MODE);
    if (identity === undefined || (await lstat(dir)).uid === identity.uid) continue;
    await grantTree(dir, identity);
  }
}

async function grantTree(dir: string, identity: ModuleIdentity): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) await grantTree(path, identity);
    else await lchown(path, identity.uid, identity.gid);
  }
  // Last, so that an interrupted walk is begun again.
  await lchown(dir, identity.uid, identity.gid);
}

/**
 * Refuses what the module could not enter, before a program of the chain says so in its own words.
 *
 * @throws HostError START_FAILED naming path and cure
 */
export async function assertUsable(
  directories: ModuleDirectories,
  identity: ModuleIdentity | undefined,
): Promise<void> {
  for (const [role, path] of Object.entries(directories) as [keyof ModuleDirectories, string][]) {
    const found = await lstat(path).catch((cause: unknown) => {
      throw new HostError('START_FAILED', `the module's ${role} directory ${path} cannot be read`, { cause });
    });
    if (!found.isDirectory())
      throw new HostError('START_FAILED', `the module's ${role} directory ${path} is no directory`);
    if (identity === undefined) continue;
    const isOwn = found.uid === identity.uid;
    if (role !== 'code' && !isOwn) {
      throw new HostError(
        'START_FAILED',
        `the module's ${role} directory ${path} does not belong to its user ${identity.uid}`,
      );
    }
    if (role === 'code' && (found.mode & (isOwn ? 0o500 : 0o005)) !== (isOwn ? 0o500 : 0o005)) {
      throw new HostError(
        'START_FAILED',
        `user ${identity.uid} of the module cannot read ${path}: chmod -R o+rX ${path}`,
      );
    }
  }
}
