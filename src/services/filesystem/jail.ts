import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { HostError } from '../../contract/error.js';
import { codeOf, faultOf } from './fault.js';

/**
 * Opens a place without opening what stands there: no device is touched, no pipe waits, and of a link it is the link
 * itself. Node does not name it. @see open(2); include/uapi/asm-generic/fcntl.h
 */
const O_PATH = 0o10000000;

/** Something that is open, and what it was when it was opened. */
export interface Opened {
  readonly handle: FileHandle;
  readonly stats: BigIntStats;
}

/**
 * The data directory of one module, whose owner may be hostile and at work: it swaps directories for links while a path
 * is walked. So each part is opened by the descriptor of the one before and looked at when it is open; nothing is done
 * to a path that was only looked at. Node has no openat2: `/proc/self/fd/N/part` steps from a descriptor as openat does.
 */
export interface Jail {
  /**
   * Opens a directory, runs the act, closes it.
   *
   * @param parts as `parsePath` gives them
   * @throws HostError NOT_FOUND, PATH_ESCAPE; what the act throws, the kernel's refusals by their reason
   */
  within<T>(parts: readonly string[], signal: AbortSignal, act: (directory: Opened) => Promise<T>): Promise<T>;
  /** Opens, as a place, what has this name in a directory; undefined when nothing has. @throws PATH_ESCAPE */
  look(directory: Opened, name: string): Promise<Opened | undefined>;
  /** The same, closed at once: what stands there now, for refusals that need not wait for the act. */
  glance(directory: Opened, name: string): Promise<BigIntStats | undefined>;
  /** Files that have a second name for a moment because the host itself is giving them their first. */
  readonly settling: Set<bigint>;
}

/** Path of a name inside an open directory, as the kernel steps there: from the descriptor, not from the root. */
export function inside(directory: { handle: FileHandle }, name: string): string {
  return `/proc/self/fd/${directory.handle.fd}/${name}`;
}

/** Opens for reading what is open as a place: exactly that file or directory, whatever its path has become. */
export function reopen({ handle, stats }: Opened): Promise<FileHandle> {
  const kind = stats.isDirectory() ? constants.O_DIRECTORY : constants.O_NONBLOCK;
  return open(`/proc/self/fd/${handle.fd}`, constants.O_RDONLY | kind);
}

/**
 * Makes the jail of a data directory.
 *
 * @param root absolute; whoever may write to the directory above it is trusted
 */
export function createJail(root: string): Jail {
  const settling = new Set<bigint>();

  /** Closes it again unless it is plain file or directory of this file system, without a second name. */
  const assertPlain = async (handle: FileHandle, device: bigint | undefined): Promise<Opened> => {
    try {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isDirectory() && !stats.isFile()) throw outside('neither a file nor a directory is there');
      if (device !== undefined && stats.dev !== device) throw outside('another file system is mounted there');
      if (stats.nlink === 0n) throw new HostError('NOT_FOUND', 'it was removed at this moment');
      if (stats.isFile() && stats.nlink > 1n && !(await isSettling(handle, stats))) {
        throw outside('the file has another name too');
      }
      return { handle, stats };
    } catch (error) {
      await handle.close();
      throw error;
    }
  };

  /** A file just made by the host has two names for a moment; looked at again it is past that, if the moment is over. */
  const isSettling = async (handle: FileHandle, { ino }: BigIntStats): Promise<boolean> =>
    settling.has(ino) || (await handle.stat({ bigint: true })).nlink === 1n;

  const openRoot = async (): Promise<Opened> => {
    const flags = O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY;
    const handle = await open(root, flags).catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') throw error;
      throw outside('the data directory itself is no directory, or a link');
    });
    return assertPlain(handle, undefined);
  };

  const step = async (from: Opened, name: string): Promise<Opened> =>
    assertPlain(await open(inside(from, name), O_PATH | constants.O_NOFOLLOW), from.stats.dev);

  const look = async (directory: Opened, name: string): Promise<Opened | undefined> => {
    try {
      return await step(directory, name);
    } catch (error) {
      const fault = faultOf(error);
      if (fault.reason === 'NOT_FOUND') return undefined;
      throw fault;
    }
  };

  return {
    settling,
    look,
    async within(parts, signal, act) {
      let here: Opened | undefined;
      try {
        here = await openRoot();
        for (const part of parts) {
          signal.throwIfAborted();
          const next = await step(here, part);
          await here.handle.close();
          here = next;
          if (!next.stats.isDirectory()) throw new HostError('NOT_FOUND', 'a file stands where a directory should');
        }
        signal.throwIfAborted();
        return await act(here);
      } catch (error) {
        throw faultOf(error);
      } finally {
        await here?.handle.close();
      }
    },
    async glance(directory, name) {
      const found = await look(directory, name);
      await found?.handle.close();
      return found?.stats;
    },
  };
}

function outside(what: string): HostError {
  return new HostError('PATH_ESCAPE', `the path leaves what is the module's own: ${what}`);
}
