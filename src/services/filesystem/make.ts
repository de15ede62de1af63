import { constants } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { HostError } from '../../contract/error.js';
import { codeOf, faultOf } from './fault.js';
import { inside, type Jail, type Opened } from './jail.js';
import { diskBytes } from './metadata.js';
import { parseSpot } from './path.js';
import type { Usage } from './usage.js';
import { openForSync } from './write.js';

/** Only the module's own user, and root. */
const DIRECTORY_MODE = 0o700;
/** What a new directory takes at most on the file systems that modules lie on, bytes. */
const DIRECTORY_BYTES = 4_096;

/** What making a directory works with. */
export interface MakeParts {
  jail: Jail;
  usage: Usage;
  /** The module's total, bytes. */
  totalBytes: number;
}

/** Makes one directory, with those above it if asked; there also after a crash. @throws HostError as filesystem.proto lists */
export async function createDirectory(
  parts: MakeParts,
  path: string,
  withParents: boolean,
  signal: AbortSignal,
): Promise<void> {
  const spot = parseSpot(path);
  const names = [...spot.above, spot.name];
  const first = withParents ? 0 : spot.above.length;
  for (let depth = first; depth < names.length; depth += 1) {
    const isLast = depth === names.length - 1;
    try {
      await makeOne(parts, names.slice(0, depth), names[depth] as string, signal);
    } catch (error) {
      const fault = faultOf(error);
      if (fault.reason !== 'ALREADY_EXISTS' || !withParents) throw fault;
      await assertDirectory(parts.jail, names.slice(0, depth), names[depth] as string, isLast, signal);
    }
  }
}

/** With `parents`, a directory that is there already is no error; anything else is. */
async function assertDirectory(
  jail: Jail,
  above: readonly string[],
  name: string,
  isLast: boolean,
  signal: AbortSignal,
): Promise<void> {
  await jail.within(above, signal, async (directory) => {
    const there = await jail.glance(directory, name);
    if (there === undefined || there.isDirectory()) return;
    if (isLast) throw new HostError('ALREADY_EXISTS', 'a file is there');
    throw new HostError('NOT_FOUND', 'a file stands where a directory should');
  });
}

async function makeOne(
  { jail, usage, totalBytes }: MakeParts,
  above: readonly string[],
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const { uid, gid } = await jail.within([], signal, async ({ stats }) => stats);
  await jail.within(above, signal, async (directory) => {
    if ((await jail.glance(directory, name)) !== undefined) {
      throw new HostError('ALREADY_EXISTS', 'something is there already');
    }
    const room = usage.begin(above[0], totalBytes, signal);
    try {
      await room.reach(DIRECTORY_BYTES);
      await mkdir(inside(directory, name), DIRECTORY_MODE);
      const taken = await give(directory, name, Number(uid), Number(gid));
      room.leave();
      usage.correct(above[0], taken);
      const synced = await openForSync(directory);
      try {
        await synced.sync();
      } finally {
        await synced.close();
      }
    } finally {
      room.leave();
    }
  });
}

/**
 * Gives a new directory to the module; answers what it takes on the disk. By its descriptor, and only while it is the
 * host's: what the module may have put in its place meanwhile is left as it is.
 */
async function give(directory: Opened, name: string, uid: number, gid: number): Promise<number> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const handle = await open(inside(directory, name), flags).catch((error: unknown) => {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '')) return undefined;
    throw error;
  });
  if (handle === undefined) return 0;
  try {
    const stats = await handle.stat({ bigint: true });
    if (stats.dev !== directory.stats.dev) return 0;
    const isHosts = process.getuid !== undefined && stats.uid === BigInt(process.getuid());
    if (isHosts && (stats.uid !== BigInt(uid) || stats.gid !== BigInt(gid))) await handle.chown(uid, gid);
    return diskBytes(stats);
  } finally {
    await handle.close();
  }
}
