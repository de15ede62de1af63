import { posix } from 'node:path';
import { HostError } from '../../contract/error.js';
import type { GroupPowers, ResourceGroup, ResourceGroups } from '../group.js';
import { clearGroup, type GroupDirectories, killMembers, removeEmpty } from './clear-groups.js';
import { CPU_PERIOD_US, groupDirName, MIB, MODULES_CPU_PERCENT, OWN_PROCESSES } from './group-bounds.js';
import { errnoOf, type GroupTree, readKeyed, readMembers, readNumber } from './group-tree.js';

/** Controllers of version 2 that groups use. */
export const V2_CONTROLLERS = ['memory', 'cpu', 'pids'] as const;

/**
 * Group into which the host moves itself: one that hands controllers on to groups below may have no processes of its
 * own. @see cgroups(7), "no internal processes" rule
 */
export const HOST_LEAF = 'modhost-host';

const BY = 'cgroup v2';

/** What groups of version 2 are made in. */
export interface V2Options {
  readonly tree: GroupTree;
  /** The host's own directory, which belongs to it. */
  readonly own: string;
  /** Process id of the host. */
  readonly hostPid: number;
  readonly hostDirName: string;
  /** Controllers that groups may use. */
  readonly controllers: readonly string[];
}

/** Groups, or why there are none. */
export type V2Answer = { readonly groups: ResourceGroups } | { readonly reason: string };

/**
 * Prepares the host's part of the tree, and makes groups in it. Moves nobody but the host; writes nothing above the
 * host's own group.
 */
export function createV2Groups({ tree, own, hostPid, hostDirName, controllers }: V2Options): V2Answer {
  // a host that was here before in the same process, or systemd by DelegateSubgroup=, has made the leaf already
  const inLeaf = posix.basename(own) === HOST_LEAF;
  const base = inLeaf ? posix.dirname(own) : own;
  const hostDir = `${base}/${hostDirName}`;
  const offered = enabledIn(tree, `${base}/cgroup.controllers`);
  const wanted = controllers.filter((name) => offered.has(name));
  try {
    const obstacle = enable(tree, base, hostPid, wanted, inLeaf);
    if (obstacle !== undefined) return { reason: obstacle };
    makeHostGroup(tree, hostDir, wanted);
  } catch (error) {
    return { reason: `no control group can be made below the host's own: ${errnoOf(error)}` };
  }
  const groups = groupsIn(tree, hostDir, wanted);
  removeEmpty(tree, [hostDir]);
  return { groups };
}

/** The group that holds all those of this host. */
function makeHostGroup(tree: GroupTree, hostDir: string, wanted: readonly string[]): void {
  tree.makeGroup(hostDir);
  // 100 is what a group weighs that is told nothing, as the host's own is
  if (wanted.includes('cpu')) tryWrite(tree, `${hostDir}/cpu.weight`, String(MODULES_CPU_PERCENT));
  for (const name of enabledIn(tree, `${hostDir}/cgroup.controllers`)) {
    if (wanted.includes(name)) tryWrite(tree, `${hostDir}/cgroup.subtree_control`, `+${name}`);
  }
}

/** Hands controllers on to what is below `base`, for which the host must leave it. Answers why it cannot be. */
function enable(
  tree: GroupTree,
  base: string,
  hostPid: number,
  wanted: readonly string[],
  inLeaf: boolean,
): string | undefined {
  const control = `${base}/cgroup.subtree_control`;
  const lacking = wanted.filter((name) => !enabledIn(tree, control).has(name));
  if (lacking.length === 0) return undefined;
  // the root of the whole tree is exempt from the rule, and alone has no type
  const isRoot = tree.read(`${base}/cgroup.type`) === undefined;
  const leaf = `${base}/${HOST_LEAF}`;
  if (!isRoot && !inLeaf) {
    const strangers = readMembers(tree, base).filter((pid) => pid !== hostPid);
    if (strangers.length > 0) {
      return `the host shares its control group with ${strangers.length} other process${strangers.length > 1 ? 'es' : ''}`;
    }
    tree.makeGroup(leaf);
    tree.write(`${leaf}/cgroup.procs`, String(hostPid));
  }
  const failed = lacking.filter((name) => !tryWrite(tree, control, `+${name}`));
  if (failed.length < lacking.length || isRoot || inLeaf) return undefined;
  // nothing was won by the move: back
  tryWrite(tree, `${base}/cgroup.procs`, String(hostPid));
  try {
    tree.removeGroup(leaf);
  } catch {
    // it stays, empty
  }
  return 'the kernel hands no controller on below the host’s control group';
}

function groupsIn(tree: GroupTree, hostDir: string, wanted: readonly string[]): ResourceGroups {
  const active = enabledIn(tree, `${hostDir}/cgroup.subtree_control`);
  const power = (controller: string): string | undefined => (active.has(controller) ? BY : undefined);
  const powers: GroupPowers = { memory: power('memory'), cpu: power('cpu'), pids: power('pids'), kill: BY };
  const directoriesOf = (name: string): GroupDirectories => {
    const dir = `${hostDir}/${name}`;
    return { dirs: [dir], membersDir: dir, killDir: dir };
  };
  const groupOf = (dir: string, directories: GroupDirectories): ResourceGroup => ({
    joinFiles: [`${dir}/cgroup.procs`],
    members: () => readMembers(tree, dir),
    usage() {
      const microseconds = readKeyed(tree, `${dir}/cpu.stat`, 'usage_usec');
      return {
        chargedBytes: readNumber(tree, `${dir}/memory.current`),
        cpuMs: microseconds === undefined ? undefined : microseconds / 1e3,
        pids: readNumber(tree, `${dir}/pids.current`),
        oomKills: readKeyed(tree, `${dir}/memory.events`, 'oom_kill'),
        pidsRefused: readKeyed(tree, `${dir}/pids.events`, 'max'),
      };
    },
    setCpuPercent(percent) {
      if (powers.cpu === undefined) return;
      const quota = percent === undefined ? 'max' : String(Math.ceil((percent * CPU_PERIOD_US) / 100));
      // a group that is gone needs no bound
      tryWrite(tree, `${dir}/cpu.max`, `${quota} ${CPU_PERIOD_US}`);
    },
    kill: () => void killMembers(tree, directories),
    async remove() {
      await clearGroup(tree, directories);
      removeEmpty(tree, [hostDir]);
    },
  });
  return {
    powers,
    async create(instanceId, limits) {
      const name = groupDirName(instanceId);
      const directories = directoriesOf(name);
      const dir = `${hostDir}/${name}`;
      await clearGroup(tree, directories);
      try {
        makeHostGroup(tree, hostDir, wanted);
        tree.makeGroup(dir);
        if (powers.memory !== undefined) {
          tree.write(`${dir}/memory.max`, String(limits.memoryMb * MIB));
          // absent without swap accounting, and the group of the kill since Linux 4.19
          tryWrite(tree, `${dir}/memory.swap.max`, '0');
          tryWrite(tree, `${dir}/memory.oom.group`, '1');
        }
        if (powers.pids !== undefined) tree.write(`${dir}/pids.max`, String(limits.pids + OWN_PROCESSES));
      } catch (cause) {
        await clearGroup(tree, directories);
        removeEmpty(tree, [hostDir]);
        throw new HostError('START_FAILED', 'the control group of the module could not be made', { cause });
      }
      return groupOf(dir, directories);
    },
    async sweep() {
      let killed = 0;
      for (const name of tree.childGroups(hostDir)) killed += (await clearGroup(tree, directoriesOf(name))).killed;
      removeEmpty(tree, [hostDir]);
      return killed;
    },
    async close() {
      removeEmpty(tree, [hostDir]);
    },
  };
}

function enabledIn(tree: GroupTree, file: string): ReadonlySet<string> {
  return new Set((tree.read(file) ?? '').split(/\s+/).filter((word) => word !== ''));
}

function tryWrite(tree: GroupTree, file: string, text: string): boolean {
  try {
    tree.write(file, text);
    return true;
  } catch {
    return false;
  }
}
