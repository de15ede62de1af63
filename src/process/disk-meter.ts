import type { Dir, Stats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, opendir, readlink, stat } from 'node:fs/promises';

/** Entries that one step looks at: some 50 ms of work, most of it in other threads. */
const ENTRIES_PER_STEP = 4_000;
/** Entries that are asked for at one time, so that other users of the thread pool get their turn. */
const ENTRIES_AT_ONCE = 32;
/** Directories below directories that are followed; no sane program nests deeper, a hostile one would without end. */
const MAX_DEPTH = 64;
/** Directories that wait to be walked, and hard links that are remembered, at most: bounds of memory. */
const MAX_REMEMBERED = 100_000;
/** Bytes of one unit of `st_blocks`, whatever the file system's block. @see stat(2) */
const BLOCK_BYTES = 512;

/** Measures the size of one directory tree, a bounded piece at a time. */
export interface DiskMeter {
  /** Device of the directory; undefined while it is not there. */
  device(): number | undefined;
  /**
   * Goes on with the walk; a tree of some thousand entries is walked in one step. True when a walk has ended.
   *
   * @param enough bytes at which the walk may end at once, because nothing more needs to be known
   */
  step(enough: number): Promise<boolean>;
  /** Bytes on disk as the last walk found them, or the one under way when that has found more. */
  bytes(): number;
  /** What the last walk could not look into, for people; undefined when it saw everything. */
  obstacle(): string | undefined;
  /** Lets go of the directory under way. */
  close(): Promise<void>;
}

/** A walk under way. */
interface Walk {
  pending: { path: string; depth: number }[];
  current: { handle: FileHandle; entries: Dir; path: string; depth: number } | undefined;
  bytes: number;
  links: Set<number>;
  obstacle: string | undefined;
}

/**
 * Makes the meter of a directory whose owner may be hostile and at work: it makes files while they are counted, swaps
 * directories for links, nests without end. Links are never followed; each directory is entered by its descriptor, and
 * only when that lies where it should; other file systems are left out; a file with several names counts once.
 *
 * @param root absolute and free of links
 */
export function createDiskMeter(root: string): DiskMeter {
  // names may be any bytes: as latin1 each byte is one character, and none is lost
  const top = Buffer.from(root).toString('latin1');
  let device: number | undefined;
  let walk: Walk | undefined;
  let last = { bytes: 0, obstacle: undefined as string | undefined };

  const enter = async (current: Walk, path: string, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH || current.pending.length > MAX_REMEMBERED) {
      current.obstacle ??= `it nests directories deeper than ${MAX_DEPTH}, or has too many`;
      return;
    }
    let handle: FileHandle | undefined;
    try {
      handle = await open(
        bytesOf(path === '' ? top : `${top}/${path}`),
        constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
      );
      const at = `/proc/self/fd/${handle.fd}`;
      const [found, where] = await Promise.all([handle.stat(), readlink(at, 'latin1')]);
      device ??= found.dev;
      if (found.dev === device && (where === top || where.startsWith(`${top}/`))) {
        current.current = { handle, entries: await opendir(at, { bufferSize: 256, encoding: 'latin1' }), path, depth };
        return;
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EACCES') current.obstacle ??= 'it holds a directory that the host may not read';
      if (code === 'ENAMETOOLONG') current.obstacle ??= 'it holds paths that are too long';
      // else it was removed, or replaced by something that is no directory
    }
    await handle?.close();
  };

  const count = (current: Walk, path: string, depth: number, name: string, found: Stats): void => {
    if (found.isDirectory()) current.pending.push({ path: path === '' ? name : `${path}/${name}`, depth: depth + 1 });
    else if (found.nlink > 1 && current.links.size < MAX_REMEMBERED) {
      if (current.links.has(found.ino)) return;
      current.links.add(found.ino);
    }
    current.bytes += found.blocks * BLOCK_BYTES;
  };

  /** Looks at the next entries of the open directory; answers how many. */
  const look = async (current: Walk): Promise<number> => {
    const { current: open } = current;
    if (open === undefined) return 0;
    const names: string[] = [];
    while (names.length < ENTRIES_AT_ONCE) {
      const entry = await open.entries.read();
      if (entry === null) break;
      names.push(entry.name);
    }
    const at = `/proc/self/fd/${open.handle.fd}`;
    const found = await Promise.all(names.map((name) => lstat(bytesOf(`${at}/${name}`)).catch(() => undefined)));
    for (const [index, stats] of found.entries()) {
      if (stats?.dev === device) count(current, open.path, open.depth, names[index] as string, stats as Stats);
    }
    if (names.length < ENTRIES_AT_ONCE) await leave(current);
    return names.length + 1;
  };

  const leave = async (current: Walk): Promise<void> => {
    const { current: open } = current;
    current.current = undefined;
    await open?.entries.close().catch(() => undefined);
    await open?.handle.close().catch(() => undefined);
  };

  return {
    device: () => device,
    async step(enough) {
      device ??= await stat(root).then(
        ({ dev }) => dev,
        () => undefined,
      );
      walk ??= {
        pending: [{ path: '', depth: 0 }],
        current: undefined,
        bytes: 0,
        links: new Set(),
        obstacle: undefined,
      };
      const current = walk;
      for (let looked = 0; looked < ENTRIES_PER_STEP && current.bytes <= enough; ) {
        const next = current.current === undefined ? current.pending.pop() : undefined;
        if (next !== undefined) await enter(current, next.path, next.depth);
        else if (current.current === undefined) break;
        looked += 1 + (await look(current));
      }
      const isDone = current.bytes > enough || (current.current === undefined && current.pending.length === 0);
      if (!isDone) return false;
      await leave(current);
      last = { bytes: current.bytes, obstacle: current.obstacle };
      walk = undefined;
      return true;
    },
    bytes: () => Math.max(last.bytes, walk?.bytes ?? 0),
    obstacle: () => last.obstacle,
    async close() {
      if (walk !== undefined) await leave(walk);
      walk = undefined;
    },
  };
}

function bytesOf(path: string): Buffer {
  return Buffer.from(path, 'latin1');
}
