import { HostError } from '../../contract/error.js';
import type { GroupPowers, ResourceGroup, ResourceGroups } from '../group.js';
import type { ResourceLimits } from '../limits.js';
import { clearGroup, type GroupDirectories, killMembers, removeEmpty } from './clear-groups.js';
import { CPU_PERIOD_US, groupDirName, MIB, MODULES_CPU_PERCENT, OWN_PROCESSES } from './group-bounds.js';
import { type GroupTree, readKeyed, readMembers, readNumber } from './group-tree.js';

/** Controllers of version 1 that groups use, in the order in which a process joins them. */
export const V1_CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids'] as const;

const BY = 'cgroup v1';
/** Weight of a plain process. @see sched-design-CFS.rst; a group of version 1 has the same unless it is told another */
const PLAIN_SHARES = 1024;

/** What groups of version 1 are made in. */
export interface V1Options {
  readonly tree: GroupTree;
  /** The host's own directory per controller, only those in which it may make groups. */
  readonly own: ReadonlyMap<string, string>;
  /** Its own directory in a version 2 hierarchy without controllers, where it may make groups: for `cgroup.kill`. */
  readonly unified: string | undefined;
  /** Directory that holds all groups of this host, below each own one. */
  readonly hostDirName: string;
}

/** Makes groups in the hierarchies of version 1: one directory in each for every spawn. */
export function createV1Groups({ tree, own, unified, hostDirName }: V1Options): ResourceGroups {
  const inHost = (dir: string): string => `${dir}/${hostDirName}`;
  const hostDirs = new Map([...own].map(([controller, dir]) => [controller, inHost(dir)]));
  const killHostDir = unified === undefined ? undefined : inHost(unified);
  const all = [...new Set([...hostDirs.values(), ...(killHostDir === undefined ? [] : [killHostDir])])];
  const membersHostDir = killHostDir ?? hostDirs.get('pids') ?? all[0];
  const power = (controller: string): string | undefined => (own.has(controller) ? BY : undefined);
  const powers: GroupPowers = {
    memory: power('memory'),
    cpu: power('cpu'),
    pids: power('pids'),
    kill: killHostDir === undefined ? membersHostDir && BY : 'cgroup v2',
  };
  const directoriesOf = (name: string): GroupDirectories => ({
    dirs: all.map((dir) => `${dir}/${name}`),
    membersDir: `${membersHostDir}/${name}`,
    killDir: killHostDir === undefined ? undefined : `${killHostDir}/${name}`,
  });
  const dirOf = (controller: string, name: string): string | undefined => {
    const dir = hostDirs.get(controller);
    return dir === undefined ? undefined : `${dir}/${name}`;
  };

  const bound = (name: string, limits: ResourceLimits): void => {
    const memory = dirOf('memory', name);
    if (memory !== undefined) {
      const bytes = String(limits.memoryMb * MIB);
      tree.write(`${memory}/memory.limit_in_bytes`, bytes);
      // memory and swap together; without swap accounting the group is kept out of the swap as far as can be
      if (tree.read(`${memory}/memory.memsw.limit_in_bytes`) !== undefined) {
        tree.write(`${memory}/memory.memsw.limit_in_bytes`, bytes);
      } else if (tree.read(`${memory}/memory.swappiness`) !== undefined) {
        tree.write(`${memory}/memory.swappiness`, '0');
      }
    }
    const pids = dirOf('pids', name);
    if (pids !== undefined) tree.write(`${pids}/pids.max`, String(limits.pids + OWN_PROCESSES));
  };

  const groupOf = (name: string, directories: GroupDirectories): ResourceGroup => {
    const [memory, cpu, accounting, pids] = V1_CONTROLLERS.map((controller) => dirOf(controller, name));
    return {
      joinFiles: directories.dirs.map((dir) => `${dir}/cgroup.procs`),
      members: () => readMembers(tree, directories.membersDir),
      usage() {
        const nanoseconds = accounting === undefined ? undefined : readNumber(tree, `${accounting}/cpuacct.usage`);
        return {
          chargedBytes: memory === undefined ? undefined : readNumber(tree, `${memory}/memory.usage_in_bytes`),
          cpuMs: nanoseconds === undefined ? undefined : nanoseconds / 1e6,
          pids: pids === undefined ? undefined : readNumber(tree, `${pids}/pids.current`),
          oomKills: memory === undefined ? undefined : readKeyed(tree, `${memory}/memory.oom_control`, 'oom_kill'),
          pidsRefused: pids === undefined ? undefined : readKeyed(tree, `${pids}/pids.events`, 'max'),
        };
      },
      setCpuPercent(percent) {
        if (cpu === undefined) return;
        const quota = percent === undefined ? -1 : Math.ceil((percent * CPU_PERIOD_US) / 100);
        try {
          tree.write(`${cpu}/cpu.cfs_period_us`, String(CPU_PERIOD_US));
          tree.write(`${cpu}/cpu.cfs_quota_us`, String(quota));
        } catch {
          // more than a group above it may have is refused (EINVAL): that group's own bound holds then. One that is gone
          // needs no bound.
        }
      },
      kill: () => void killMembers(tree, directories),
      async remove() {
        await clearGroup(tree, directories);
        removeEmpty(tree, all);
      },
    };
  };

  return {
    powers,
    async create(instanceId, limits) {
      const name = groupDirName(instanceId);
      const directories = directoriesOf(name);
      await clearGroup(tree, directories);
      try {
        for (const dir of all) tree.makeGroup(dir);
        const cpu = hostDirs.get('cpu');
        if (cpu !== undefined) tree.write(`${cpu}/cpu.shares`, String((PLAIN_SHARES * MODULES_CPU_PERCENT) / 100));
        for (const dir of directories.dirs) tree.makeGroup(dir);
        bound(name, limits);
      } catch (cause) {
        await clearGroup(tree, directories);
        removeEmpty(tree, all);
        throw new HostError('START_FAILED', 'the control group of the module could not be made', { cause });
      }
      return groupOf(name, directories);
    },
    async sweep() {
      const names = new Set(all.flatMap((dir) => tree.childGroups(dir)));
      let killed = 0;
      for (const name of names) killed += (await clearGroup(tree, directoriesOf(name))).killed;
      removeEmpty(tree, all);
      return killed;
    },
    async close() {
      removeEmpty(tree, all);
    },
  };
}
