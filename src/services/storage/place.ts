import { statSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import { createCommitFile } from './commit-file.js';
import { type EngineOptions, openEngine } from './engine.js';
import { HEAD_KEY } from './layout.js';
import { encodeHead, headOf } from './records.js';

/** Where one module's storage lies. */
export interface Place {
  /** The whole of it. */
  readonly dir: string;
  /** The engine's directory. */
  readonly engineDir: string;
  /** The file of commits. */
  readonly commitPath: string;
  /** The engine's files as they were found, while they are opened. */
  readonly keptDir: string;
  /**
   * Sees to it that a complete storage is there, an empty one when there was none.
   *
   * @throws DATA_CORRUPT when a damaged one was set aside and nothing was put in its place
   */
  prepare(): Promise<void>;
  /** Takes a damaged storage out of the way by one rename, nothing removed. @returns where it lies now */
  setAside(): Promise<string>;
  /** Resolves when every name in the engine's directory is on the disk as it was when this was called. */
  settle(): Promise<void>;
}

/** The host's own: no other user reads what modules keep. */
const PRIVATE = 0o700;
/**
 * Time after which a directory's time of change is surely not shared with a later change, milliseconds: the kernel stamps
 * by its tick, 10 ms at the slowest, and file systems by at most that.
 */
const STAMP_MS = 50;

/** Makes the place of a module's storage below the room of all. @param name a module's name: letters, digits, hyphens */
export function createPlace(room: string, name: string, clock: Clock, options: EngineOptions = {}): Place {
  const dir = join(room, name);
  const engineDir = join(dir, 'db');
  const commitPath = join(dir, 'commits');
  /** Time of change of the engine's directory as it is on the disk. */
  let settled: bigint | undefined;

  const asides = async (): Promise<string[]> =>
    (await readdir(room)).filter((entry) => entry.startsWith(`${name}.corrupt-`)).sort();

  /** Built beside its place and moved there whole: a crash leaves no half of a storage. */
  const create = async (): Promise<void> => {
    const building = `${dir}.new`;
    await rm(building, { recursive: true, force: true });
    await mkdir(building, { mode: PRIVATE });
    const head = headOf([], { sequence: 0n, commit: 0n, nextTree: 1 });
    await mkdir(join(building, 'db'), { mode: PRIVATE });
    const engine = await openEngine(join(building, 'db'), { ...options, create: true });
    try {
      await engine.put(HEAD_KEY, encodeHead(head), { sync: true });
    } finally {
      await engine.close();
    }
    await createCommitFile(join(building, 'commits'), head);
    await syncDirectory(join(building, 'db'));
    await syncDirectory(building);
    await rename(building, dir);
    await syncDirectory(room);
  };

  return {
    dir,
    engineDir,
    commitPath,
    keptDir: join(dir, 'as-found'),
    async prepare() {
      if ((await mkdir(room, { recursive: true, mode: PRIVATE })) !== undefined) await syncDirectory(dirname(room));
      if (await exists(dir)) return;
      const aside = (await asides()).at(-1);
      if (aside === undefined) return create();
      throw new HostError(
        'DATA_CORRUPT',
        `the storage of ${name} was damaged and lies in ${join(room, aside)}; put a backup at ${dir}, or move that directory away to begin empty`,
        { details: { aside: join(room, aside) } },
      );
    },
    async setAside() {
      const aside = `${dir}.corrupt-${clock.unixMs()}`;
      await rename(dir, aside);
      await syncDirectory(room);
      return aside;
    },
    async settle() {
      // a look at an inode that is in memory costs microseconds; a sync costs as much as a commit
      const { mtimeNs } = statSync(engineDir, { bigint: true });
      if (mtimeNs === settled) return;
      const isOld = BigInt(clock.unixMs() - STAMP_MS) * 1_000_000n > mtimeNs;
      await syncDirectory(engineDir);
      settled = isOld ? mtimeNs : undefined;
    },
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
