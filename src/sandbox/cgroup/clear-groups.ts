import { delay } from '../../core/delay.js';
import { errnoOf, type GroupTree, readMembers } from './group-tree.js';

/** Passes over a group's members in one kill: each finds what was forked during the one before. */
const KILL_PASSES = 32;
/** How long a group may stay busy after its members were killed, milliseconds; a large memory takes a while to free. */
const BUSY_MS = 5_000;
/** First and longest pause between two tries to remove a group, milliseconds. */
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 200;

/** The directories of one group, one per hierarchy. */
export interface GroupDirectories {
  readonly dirs: readonly string[];
  /** The one that tells members, and whose `pids.max`, if it has one, stops forks. */
  readonly membersDir: string;
  /** The one with `cgroup.kill`; undefined where the kernel has none (before Linux 5.14, or no version 2). */
  readonly killDir: string | undefined;
}

/** Kills every process of a group; answers how many it saw. */
export function killMembers(tree: GroupTree, { membersDir, killDir, dirs }: GroupDirectories): number {
  const seen = new Set(readMembers(tree, membersDir));
  if (killDir !== undefined) {
    try {
      tree.write(`${killDir}/cgroup.kill`, '1');
      // a process that had joined only some of the hierarchies when its host died is met below
      if (dirs.length === 1) return seen.size;
    } catch {
      // no such file, or a group that is gone: one by one then
    }
  }
  for (const dir of dirs) {
    if (tree.read(`${dir}/pids.max`) === undefined) continue;
    try {
      tree.write(`${dir}/pids.max`, '0');
    } catch {
      // gone meanwhile
    }
  }
  for (let pass = 0; pass < KILL_PASSES; pass += 1) {
    const left = dirs.flatMap((dir) => readMembers(tree, dir));
    if (left.length === 0) break;
    for (const pid of left) {
      seen.add(pid);
      tree.killProcess(pid);
    }
  }
  return seen.size;
}

/**
 * Kills what is left in a group and removes its directories.
 *
 * @returns how many processes were killed, and the directories that stayed busy to the end
 */
export async function clearGroup(
  tree: GroupTree,
  group: GroupDirectories,
): Promise<{ killed: number; left: readonly string[] }> {
  let killed = killMembers(tree, group);
  let left = group.dirs;
  let pause = FIRST_PAUSE_MS;
  for (let waited = 0; ; waited += pause) {
    left = left.filter((dir) => !isRemoved(tree, dir));
    if (left.length === 0 || waited >= BUSY_MS) return { killed, left };
    await delay(pause);
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    killed = Math.max(killed, killMembers(tree, { ...group, dirs: left }));
  }
}

/** Removes directories that hold no groups any more, and leaves the others; whoever makes a group makes them again. */
export function removeEmpty(tree: GroupTree, dirs: readonly string[]): void {
  for (const dir of dirs) {
    try {
      tree.removeGroup(dir);
    } catch {
      // not empty, or busy: a later removal or the next start takes it along
    }
  }
}

function isRemoved(tree: GroupTree, dir: string): boolean {
  try {
    tree.removeGroup(dir);
    return true;
  } catch (error) {
    return errnoOf(error) === 'ENOENT';
  }
}
