import { posix } from 'node:path';
import type { GroupTree } from '../../../src/sandbox/cgroup/group-tree.js';

/** One group of the double. */
interface Group {
  readonly files: Map<string, string>;
  readonly members: Set<number>;
  readonly controllers: readonly string[];
}

/** A control group file system in memory, as far as groups of version 2 need one. */
export interface Cgroup2Double extends GroupTree {
  /** What `/proc/self/cgroup` and `/proc/self/mountinfo` tell. */
  readonly killed: number[];
  readonly writes: string[];
  add(path: string, members?: readonly number[]): void;
  members(path: string): number[];
  exists(path: string): boolean;
  set(file: string, text: string): void;
}

/**
 * Makes the double: no kernel, but its rules as cgroups(7) has them. Controllers come from the group above, as far as that
 * one hands them on; a group with members, the root apart, hands none on; a process is in one group; groups with members
 * or children are busy.
 */
export function createCgroup2Double(options: {
  ownPath: string;
  controllers: readonly string[];
  point?: string;
  readOnly?: boolean;
}): Cgroup2Double {
  const point = options.point ?? '/sys/fs/cgroup';
  const groups = new Map<string, Group>();
  const killed: number[] = [];
  const writes: string[] = [];
  const fail = (code: string): never => {
    throw Object.assign(new Error(code), { code });
  };
  const add = (path: string, members: readonly number[] = []): void => {
    const parent = groups.get(posix.dirname(path));
    const isRoot = path === point;
    const controllers = isRoot
      ? options.controllers
      : (parent?.files.get('cgroup.subtree_control') ?? '').split(' ').filter((name) => name !== '');
    const files = new Map([['cgroup.subtree_control', '']]);
    if (!isRoot) {
      files.set('cgroup.type', 'domain\n').set('cgroup.kill', '');
      if (controllers.includes('memory')) {
        files.set('memory.max', 'max\n').set('memory.swap.max', 'max\n').set('memory.oom.group', '0\n');
        files.set('memory.current', '0\n').set('memory.events', 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n');
      }
      if (controllers.includes('cpu')) files.set('cpu.max', 'max 100000\n').set('cpu.weight', '100\n');
      files.set('cpu.stat', 'usage_usec 0\nuser_usec 0\n');
      if (controllers.includes('pids')) files.set('pids.max', 'max\n').set('pids.events', 'max 0\n');
    }
    groups.set(path, { files, members: new Set(members), controllers });
  };
  const childrenOf = (path: string): string[] =>
    [...groups.keys()].filter((other) => other !== path && posix.dirname(other) === path);
  const move = (pid: number, to: Group): void => {
    for (const { members } of groups.values()) members.delete(pid);
    to.members.add(pid);
  };

  const write = (path: string, text: string): void => {
    writes.push(`${path} ${text}`);
    const group = groups.get(posix.dirname(path));
    const name = posix.basename(path);
    if (options.readOnly) fail('EROFS');
    if (group === undefined) throw fail('ENOENT');
    if (name === 'cgroup.procs') {
      if ((group.files.get('cgroup.subtree_control') ?? '') !== '' && group.files.has('cgroup.type')) fail('EBUSY');
      move(Number(text), group);
    } else if (name === 'cgroup.subtree_control') {
      const controller = text.slice(1);
      if (!group.controllers.includes(controller)) fail('ENOENT');
      if (group.members.size > 0 && group.files.has('cgroup.type')) fail('EBUSY');
      const active = new Set((group.files.get(name) ?? '').split(' ').filter((word) => word !== ''));
      group.files.set(name, [...active.add(controller)].join(' '));
    } else if (name === 'cgroup.kill') {
      killed.push(...group.members);
      group.members.clear();
    } else if (!group.files.has(name)) fail('ENOENT');
    else group.files.set(name, `${text}\n`);
  };

  const tree: Cgroup2Double = {
    killed,
    writes,
    add,
    members: (path) => [...(groups.get(path)?.members ?? [])],
    exists: (path) => groups.has(path),
    set: (file, text) => void groups.get(posix.dirname(file))?.files.set(posix.basename(file), text),
    read(path) {
      if (path === '/proc/self/cgroup') return `0::${options.ownPath}\n`;
      if (path === '/proc/self/mountinfo') return `31 23 0:28 / ${point} rw,relatime shared:9 - cgroup2 cgroup2 rw\n`;
      const group = groups.get(posix.dirname(path));
      const name = posix.basename(path);
      if (name === 'cgroup.procs') return group && [...group.members].map((pid) => `${pid}\n`).join('');
      if (name === 'cgroup.controllers') return group?.controllers.join(' ');
      if (name === 'pids.current') return group?.controllers.includes('pids') ? `${group.members.size}\n` : undefined;
      return group?.files.get(name);
    },
    write,
    makeGroup(path) {
      if (groups.has(path)) return;
      if (options.readOnly) fail('EROFS');
      if (!groups.has(posix.dirname(path))) fail('ENOENT');
      add(path);
    },
    removeGroup(path) {
      const group = groups.get(path);
      if (group === undefined) return fail('ENOENT');
      if (group.members.size > 0 || childrenOf(path).length > 0) fail('EBUSY');
      groups.delete(path);
    },
    childGroups: (path) => childrenOf(path).map((child) => posix.basename(child)),
    isWritable: () => options.readOnly !== true,
    killProcess(pid) {
      killed.push(pid);
      for (const { members } of groups.values()) members.delete(pid);
    },
  };
  let path = point;
  add(path);
  for (const part of options.ownPath.split('/').filter((word) => word !== '')) {
    // as a manager does that hands its controllers on
    const group = groups.get(path) as Group;
    group.files.set('cgroup.subtree_control', group.controllers.join(' '));
    path = `${path}/${part}`;
    add(path);
  }
  groups.get(path)?.members.add(process.pid);
  return tree;
}
