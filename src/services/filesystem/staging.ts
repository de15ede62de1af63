import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, opendir, unlink } from 'node:fs/promises';
import { HostError } from '../../contract/error.js';
import { codeOf } from './fault.js';
import { inside, type Jail, type Opened } from './jail.js';
import { STAGING_NAME } from './path.js';

/** Bytes of randomness in a temporary name. */
const NAME_BYTES = 12;

/** A file that is being written and has no path of the module's yet. */
export interface StagedFile {
  readonly handle: FileHandle;
  /** Where to take it from; good until it is closed. */
  readonly path: string;
  /** Closes it; removes it unless it has been moved away. */
  end(): Promise<void>;
}

/**
 * Where files lie while they are written: a directory of the host's own, on the file system of the data directory, which
 * the module cannot enter. So nobody tampers with a write in flight, and what a killed host left is found at once.
 */
export interface Staging {
  create(jail: Jail, signal: AbortSignal): Promise<StagedFile>;
  /** Removes what a killed host has left; answers how many. */
  sweep(jail: Jail, signal: AbortSignal): Promise<number>;
}

/**
 * Makes the staging of one module.
 *
 * @param dir the host's own, existing; where the data directory is another file system, `STAGING_NAME` in it serves instead
 */
export function createStaging(dir: string): Staging {
  const active = new Set<string>();

  const openIn = async (jail: Jail, signal: AbortSignal): Promise<Opened> => {
    const handle = await open(dir, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    const own = { handle, stats: await handle.stat({ bigint: true }) };
    try {
      return await jail.within([], signal, async (root) => {
        if (root.stats.dev === own.stats.dev) return own;
        const inner = await openInner(root);
        await handle.close();
        return inner;
      });
    } catch (error) {
      await handle.close();
      throw error;
    }
  };

  return {
    async create(jail, signal) {
      const directory = await openIn(jail, signal);
      const name = randomBytes(NAME_BYTES).toString('hex');
      const path = inside(directory, name);
      let handle: FileHandle;
      active.add(name);
      try {
        const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
        handle = await open(path, flags, 0o600);
      } catch (error) {
        active.delete(name);
        await directory.handle.close();
        throw error;
      }
      let isOver = false;
      return {
        handle,
        path,
        async end() {
          if (isOver) return;
          isOver = true;
          try {
            await unlink(path).catch(ignoreGone);
          } finally {
            active.delete(name);
            await handle.close();
            await directory.handle.close();
          }
        },
      };
    },
    async sweep(jail, signal) {
      const directory = await openIn(jail, signal);
      let swept = 0;
      try {
        for await (const { name } of await opendir(`/proc/self/fd/${directory.handle.fd}`)) {
          if (active.has(name)) continue;
          await unlink(inside(directory, name)).catch(ignoreGone);
          swept += 1;
        }
      } finally {
        await directory.handle.close();
      }
      return swept;
    },
  };
}

/** The data directory is the module's: whatever it puts in the place of the host's directory is refused. */
async function openInner(root: Opened): Promise<Opened> {
  const path = inside(root, STAGING_NAME);
  await mkdir(path, 0o700).catch((error: unknown) => {
    if (codeOf(error) !== 'EEXIST') throw error;
  });
  const refused = new HostError('PATH_ESCAPE', `${STAGING_NAME} in the data directory is not the host's; remove it`);
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch(() => {
    throw refused;
  });
  const stats = await handle.stat({ bigint: true });
  const isHosts = process.getuid !== undefined && stats.uid === BigInt(process.getuid());
  if (isHosts && stats.dev === root.stats.dev) return { handle, stats };
  await handle.close();
  throw refused;
}

function ignoreGone(error: unknown): void {
  if (codeOf(error) !== 'ENOENT') throw error;
}
