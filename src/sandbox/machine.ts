import { release } from 'node:os';
import { readText } from './proc.js';

/** What the kernel and the system say of themselves, as far as confinement depends on it. */
export interface Machine {
  readonly platform: string;
  /** Node's word for the processor architecture. */
  readonly arch: string;
  readonly kernel: string;
  /** True when the host is root, of the machine or of its container. */
  readonly isRoot: boolean;
  /** Where it runs in a container, by what that is known; undefined = no sign of one. */
  readonly container: string | undefined;
  readonly hasSystemd: boolean;
  /** Model of a single-board computer, for example `Raspberry Pi 5 Model B`; undefined for others. */
  readonly board: string | undefined;
  /** Versions of control groups that are mounted. */
  readonly controlGroups: 'v2' | 'v1' | 'v1 and v2' | 'none';
  /** False when the kernel was built or booted without the memory controller; undefined = it does not say. */
  readonly memoryController: boolean | undefined;
  /** True when user namespaces are refused to programs without an AppArmor profile that grants them (Ubuntu 24.04). */
  readonly appArmorRestrictsNamespaces: boolean;
  /** What switches user namespaces off for everybody; undefined = nothing that the kernel tells. */
  readonly namespacesOff: string | undefined;
  readonly hasSeccomp: boolean;
  /** Swap, bytes; undefined = unknown. */
  readonly swapBytes: number | undefined;
}

/** The files that are read; a test may hand in those of another machine. */
export type ReadText = (path: string) => string | undefined;

/** Reads what there is to know without trying anything. @see proc(5), proc_sys_user(5), cgroups(7) */
export function readMachine(read: ReadText = readText): Machine {
  return {
    platform: process.platform,
    arch: process.arch,
    kernel: release(),
    isRoot: process.getuid?.() === 0,
    container: containerSign(read),
    hasSystemd: (read('/proc/1/comm') ?? '').trim() === 'systemd',
    board: read('/proc/device-tree/model')?.replaceAll('\0', '').trim(),
    controlGroups: mountedGroups(read('/proc/self/mountinfo') ?? ''),
    memoryController: hasMemoryController(read),
    appArmorRestrictsNamespaces: flag(read, '/proc/sys/kernel/apparmor_restrict_unprivileged_userns') === '1',
    namespacesOff: namespacesOff(read),
    hasSeccomp: /^Seccomp:/m.test(read('/proc/self/status') ?? ''),
    swapBytes: swapBytes(read('/proc/meminfo') ?? ''),
  };
}

function flag(read: ReadText, path: string): string | undefined {
  return read(path)?.trim();
}

function containerSign(read: ReadText): string | undefined {
  if (read('/.dockerenv') !== undefined) return 'Docker (/.dockerenv)';
  if (read('/run/.containerenv') !== undefined) return 'Podman (/run/.containerenv)';
  const sign = /(?:^|\0)container=([^\0]+)/.exec(read('/proc/1/environ') ?? '')?.[1];
  return sign === undefined ? undefined : `${sign} (environment of the first process)`;
}

function mountedGroups(mounts: string): Machine['controlGroups'] {
  const [v1, v2] = [/ - cgroup /.test(mounts), / - cgroup2 /.test(mounts)];
  return v1 && v2 ? 'v1 and v2' : v2 ? 'v2' : v1 ? 'v1' : 'none';
}

function hasMemoryController(read: ReadText): boolean | undefined {
  const controllers = read('/sys/fs/cgroup/cgroup.controllers');
  // the root of version 2 lists what the kernel has; a container sees what it was given
  if (controllers?.split(/\s/).includes('memory') === true) return true;
  const line = /^memory\s+[0-9]+\s+[0-9]+\s+([01])$/m.exec(read('/proc/cgroups') ?? '');
  if (line !== null) return line[1] === '1';
  return controllers === undefined ? undefined : false;
}

function namespacesOff(read: ReadText): string | undefined {
  if (flag(read, '/proc/sys/kernel/unprivileged_userns_clone') === '0') return 'kernel.unprivileged_userns_clone = 0';
  if (flag(read, '/proc/sys/user/max_user_namespaces') === '0') return 'user.max_user_namespaces = 0';
  return undefined;
}

function swapBytes(memory: string): number | undefined {
  const kilobytes = /^SwapTotal:\s+([0-9]+) kB$/m.exec(memory)?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
