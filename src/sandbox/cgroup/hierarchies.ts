import { posix } from 'node:path';
import { parseMountinfo } from '../mountinfo.js';
import type { GroupTree } from './group-tree.js';

/** Where the host stands in the control groups of this machine. */
export interface OwnGroups {
  /** Version 1: the host's own directory for each controller. Controllers that are mounted together share one. */
  readonly v1: ReadonlyMap<string, string>;
  /** The host's own directory in the version 2 hierarchy; undefined where none is mounted. */
  readonly v2: string | undefined;
  /** Membership paths as the kernel tells them, for example `/system.slice/modhost.service`, without repetition. */
  readonly paths: readonly string[];
}

/** One mounted hierarchy: where, which part of it, and what it controls. */
interface Mounted {
  readonly version: 1 | 2;
  readonly point: string;
  /** The group that appears at the mount point; not `/` in containers without a namespace of their own. */
  readonly root: string;
  readonly controllers: readonly string[];
}

/** Finds the host's own groups from `/proc/self/cgroup` and `/proc/self/mountinfo`. @see cgroups(7), proc(5) */
export function findOwnGroups(tree: GroupTree): OwnGroups {
  const mounts = parseMounts(tree.read('/proc/self/mountinfo') ?? '');
  const v1 = new Map<string, string>();
  let v2: string | undefined;
  const paths = new Set<string>();
  for (const line of (tree.read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, names, path] = /^[0-9]+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (names === undefined || path === undefined) continue;
    paths.add(path);
    if (names === '') {
      v2 ??= directoryOf(mounts, path, ({ version }) => version === 2);
      continue;
    }
    for (const controller of names.split(',')) {
      const dir = directoryOf(mounts, path, (mount) => mount.version === 1 && mount.controllers.includes(controller));
      if (dir !== undefined) v1.set(controller, dir);
    }
  }
  return { v1, v2, paths: [...paths] };
}

function directoryOf(
  mounts: readonly Mounted[],
  path: string,
  isWanted: (mount: Mounted) => boolean,
): string | undefined {
  for (const mount of mounts) {
    if (!isWanted(mount)) continue;
    const below = posix.relative(mount.root, path);
    // a group outside of the mounted part cannot be reached through it
    if (below !== '..' && !below.startsWith('../')) return posix.join(mount.point, below);
  }
  return undefined;
}

function parseMounts(text: string): Mounted[] {
  return parseMountinfo(text).flatMap(({ type, point, root, superOptions }): Mounted[] => {
    if (type === 'cgroup2') return [{ version: 2, point, root, controllers: [] }];
    return type === 'cgroup' ? [{ version: 1, point, root, controllers: superOptions }] : [];
  });
}
