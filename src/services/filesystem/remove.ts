import { randomBytes } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { type FileHandle, open, opendir, rename, rmdir, unlink } from 'node:fs/promises';
import { HostError } from '../../contract/error.js';
import { codeOf } from './fault.js';
import { inside, type Jail, type Opened } from './jail.js';
import { parseSpot, type Spot } from './path.js';
import { openForSync } from './write.js';

/** Directories of a removal that are open at one time, one in the other; what lies deeper is brought up first. */
const MAX_OPEN_LEVELS = 16;
/** Names that are taken from a directory before it is begun anew: removing while reading would lose some. */
const NAMES_AT_ONCE = 4_096;
/** Names that one read of a directory brings; the loop turns between two reads. */
const NAMES_PER_READ = 256;
/** Files that are removed at one time, so that other users of the thread pool get their turn. */
const FILES_AT_ONCE = 32;
/** Bytes of randomness in the name under which a deep directory is brought up. */
const NAME_BYTES = 12;

/** Removes one file; gone also after a crash. @throws HostError as filesystem.proto lists */
export async function deleteFile(jail: Jail, path: string, signal: AbortSignal): Promise<Opened['stats']> {
  const spot = parseSpot(path);
  return jail.within(spot.above, signal, async (directory) => {
    const stats = await jail.glance(directory, spot.name);
    if (stats === undefined) throw new HostError('NOT_FOUND', 'there is no such file');
    if (stats.isDirectory()) throw new HostError('INVALID_REQUEST', 'a directory is there, not a file');
    // whatever has been put there meanwhile: a name of the module's goes, not what it leads to
    await unlink(inside(directory, spot.name));
    await sync(directory);
    return stats;
  });
}

/** Removes one directory, with its content if asked. @throws HostError as filesystem.proto lists */
export async function removeDirectory(
  jail: Jail,
  path: string,
  recursive: boolean,
  signal: AbortSignal,
): Promise<void> {
  const spot = parseSpot(path);
  await jail.within(spot.above, signal, async (directory) => {
    const there = await jail.glance(directory, spot.name);
    if (there === undefined) throw new HostError('NOT_FOUND', 'there is no such directory');
    if (!there.isDirectory()) throw new HostError('INVALID_REQUEST', 'a file is there, not a directory');
    if (recursive) await empty(jail, directory, spot, signal);
    await rmdir(inside(directory, spot.name));
    await sync(directory);
  });
}

async function sync(directory: Opened): Promise<void> {
  const above = await openForSync(directory);
  try {
    await above.sync();
  } finally {
    await above.close();
  }
}

/** A directory on the way down, and the name by which the one above knows it. */
interface Level {
  readonly name: string | Buffer;
  readonly handle: FileHandle;
}

/**
 * Empties a directory from its leaves up. Each directory is entered by a descriptor and never through a link; links,
 * pipes and the like are removed themselves. The module may go on making files meanwhile: then it is begun anew until the
 * signal ends it.
 */
async function empty(jail: Jail, above: Opened, spot: Spot, signal: AbortSignal): Promise<void> {
  const top = await jail.look(above, spot.name);
  if (top === undefined) return;
  const levels: Level[] = [{ name: spot.name, handle: top.handle }];
  try {
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      signal.throwIfAborted();
      const child = await clear(level.handle, signal);
      if (child === undefined) {
        if (levels.length === 1) return;
        levels.pop();
        await level.handle.close();
        await rmdir(at((levels.at(-1) as Level).handle, level.name)).catch(ignore('ENOENT', 'ENOTEMPTY', 'ENOTDIR'));
      } else if (levels.length < MAX_OPEN_LEVELS) {
        const entered = await enter(level.handle, child, top.stats.dev);
        if (entered !== undefined) levels.push({ name: child, handle: entered });
      } else {
        const name = randomBytes(NAME_BYTES).toString('hex');
        await rename(at(level.handle, child), at(top.handle, Buffer.from(name))).catch(ignore('ENOENT'));
      }
    }
  } finally {
    for (const { handle } of levels) await handle.close();
  }
}

/** Removes what is no directory; answers a directory that has to be emptied first, or undefined when nothing is left. */
async function clear(directory: FileHandle, signal: AbortSignal): Promise<Buffer | undefined> {
  for (;;) {
    const entries = await someEntries(directory);
    if (entries.length === 0) return undefined;
    const files = entries.filter(({ isDirectory }) => !isDirectory);
    for (let from = 0; from < files.length; from += FILES_AT_ONCE) {
      signal.throwIfAborted();
      const some = files.slice(from, from + FILES_AT_ONCE);
      // swapped for a directory meanwhile: the next look finds it
      await Promise.all(some.map(({ name }) => unlink(at(directory, name)).catch(ignore('ENOENT', 'EISDIR'))));
    }
    for (const { name, isDirectory } of entries) {
      if (!isDirectory) continue;
      signal.throwIfAborted();
      if (await isFull(at(directory, name))) return name;
    }
  }
}

/** Removes a directory that is empty; true when it is not. */
async function isFull(path: Buffer): Promise<boolean> {
  try {
    await rmdir(path);
    return false;
  } catch (error) {
    ignore('ENOTEMPTY', 'EEXIST', 'ENOENT', 'ENOTDIR')(error);
    return ['ENOTEMPTY', 'EEXIST'].includes(codeOf(error) ?? '');
  }
}

async function someEntries(directory: FileHandle): Promise<{ name: Buffer; isDirectory: boolean }[]> {
  const entries: { name: Buffer; isDirectory: boolean }[] = [];
  const options = { bufferSize: NAMES_PER_READ, encoding: 'buffer' as never };
  const stream = await opendir(`/proc/self/fd/${directory.fd}`, options);
  for await (const entry of stream as unknown as AsyncIterable<Omit<Dirent, 'name'> & { name: Buffer }>) {
    entries.push({ name: entry.name, isDirectory: entry.isDirectory() });
    if (entries.length >= NAMES_AT_ONCE) break;
  }
  return entries;
}

/** Opens a directory below another; undefined when it is gone or has been swapped for something else. @throws PATH_ESCAPE */
async function enter(from: FileHandle, name: Buffer, device: bigint): Promise<FileHandle | undefined> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const handle = await open(at(from, name), flags).catch(ignore('ENOENT', 'ENOTDIR', 'ELOOP'));
  if (handle === undefined) return undefined;
  const isOwn = (await handle.stat({ bigint: true })).dev === device;
  if (isOwn) return handle;
  await handle.close();
  throw new HostError('PATH_ESCAPE', 'another file system is mounted in the directory');
}

/** Path of a name of any bytes in an open directory. */
function at(directory: FileHandle, name: string | Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directory.fd}/`), Buffer.from(name as Buffer)]);
}

function ignore(...codes: readonly string[]): (error: unknown) => undefined {
  return (error) => (codes.includes(codeOf(error) ?? '') ? undefined : rethrow(error));
}

function rethrow(error: unknown): never {
  throw error;
}
