import { lstat, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HostError } from '../contract/error.js';
import type { ModuleIdentity } from './engine.js';

/**
 * Directories that every distribution has, open to all: one that no source lies under becomes, in a mount namespace of
 * the spawn's own, the place from which the module's user can reach what lies behind closed doors.
 */
const STAGE_POINTS = ['/mnt', '/media', '/srv', '/opt', '/tmp'];

/** A source of a bind mount under the path by which the module's user reaches it. */
export interface StagedSources {
  /** Prefix of the launch chain; empty when every source can be reached as it is. */
  readonly command: readonly string[];
  /** Path to bind instead of the source. */
  readonly pathOf: ReadonlyMap<string, string>;
}

/**
 * Makes sources reachable for the module's user. An operator who is root keeps modules and Node below `/root`, which no
 * other user can enter; bubblewrap runs as the module's user and would fail there. Root mounts them, before it gives
 * itself up, where the user can: in a private mount namespace, so nothing of it is seen outside or left behind.
 */
export async function stageSources(
  sources: readonly string[],
  identity: ModuleIdentity | undefined,
): Promise<StagedSources> {
  const asIs = { command: [], pathOf: new Map(sources.map((source) => [source, source])) };
  if (identity === undefined) return asIs;
  const reachable = await Promise.all(sources.map((source) => isReachable(source, identity)));
  if (reachable.every(Boolean)) return asIs;
  const point = await freePoint(sources);
  const pathOf = new Map(sources.map((source, index) => [source, `${point}/${index}`]));
  const pairs = [...pathOf].flat();
  return {
    command: [
      'unshare',
      '--mount',
      '--propagation',
      'private',
      '--',
      'sh',
      '-c',
      SCRIPT,
      point,
      ...[String(sources.length)],
      ...pairs,
    ],
    pathOf,
  };
}

/** `$0` the stage point, `$1` the number of pairs, then source and target of each; the rest is the command. */
const SCRIPT = `set -e
pairs=$1; shift
mount -t tmpfs -o mode=0711,size=1m,nosuid,nodev modhost-stage "$0"
while [ "$pairs" -gt 0 ]; do
  if [ -d "$1" ]; then mkdir "$2"; else : > "$2"; fi
  mount --bind "$1" "$2"
  shift 2; pairs=$((pairs - 1))
done
exec "$@"`;

async function freePoint(sources: readonly string[]): Promise<string> {
  for (const point of STAGE_POINTS) {
    if (sources.some((source) => source === point || source.startsWith(`${point}/`))) continue;
    const found = await lstat(point).catch(() => undefined);
    if (found?.isDirectory() && (found.mode & 0o005) === 0o005) return point;
  }
  throw new HostError(
    'START_FAILED',
    `the module's user cannot reach ${sources.join(', ')}, and none of ${STAGE_POINTS.join(', ')} is free to mount them at: move the modules to a directory that other users can enter`,
  );
}

async function isReachable(path: string, identity: ModuleIdentity): Promise<boolean> {
  for (let dir = dirname(path); ; dir = dirname(dir)) {
    const { mode, uid, gid } = await stat(dir);
    const bit = uid === identity.uid ? 0o100 : gid === identity.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (dir === dirname(dir)) return true;
  }
}
