import { readdirSync } from 'node:fs';
import type { ResourceGroup } from '../sandbox/group.js';
import { readText } from '../sandbox/proc.js';

/** Processes of one module that are looked at, at most; its pids limit is far below. */
const MAX_MEMBERS = 4_096;

/** What `/proc/PID/status` tells of one process. */
export interface ProcessStatus {
  readonly parent: number;
  readonly threads: number;
  /** Resident memory, bytes. */
  readonly residentBytes: number;
  /** Its number in the innermost namespace of process ids that it is in. */
  readonly innerPid: number;
}

/** Finds the processes of one spawn. */
export interface Members {
  /** The module's own processes now, those of the sandbox around it left out. */
  list(): number[];
}

/**
 * Makes the finder of a spawn's processes: those of its control group, or without one the descendants of the first
 * process of its sandbox, to which every orphan in there is given. Without a sandbox, one that forks twice is lost.
 *
 * @param pid the module's own program, just started
 */
export function createMembers(pid: number, group: ResourceGroup | undefined): Members {
  const parent = statusOf(pid)?.parent;
  const init = parent === undefined ? undefined : statusOf(parent);
  const isSandboxed = parent !== undefined && init?.innerPid === 1 && parent !== 1;
  const root = isSandboxed ? parent : pid;
  const around = new Set(isSandboxed ? [parent, init.parent] : []);
  return {
    list() {
      const found = group?.members() ?? [];
      // a group that nobody has joined tells nothing
      const all = found.length > 0 ? found : descendants(root);
      return all.filter((member) => !around.has(member)).slice(0, MAX_MEMBERS);
    },
  };
}

/** What the kernel tells of a process; undefined when it is gone. @see proc_pid_status(5) */
export function statusOf(pid: number): ProcessStatus | undefined {
  const text = readText(`/proc/${pid}/status`);
  if (text === undefined) return undefined;
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+([0-9]+)`, 'm').exec(text)?.[1] ?? 0);
  const inner = /^NSpid:[ \t0-9]*?([0-9]+)$/m.exec(text)?.[1];
  return {
    parent: field('PPid'),
    threads: field('Threads'),
    residentBytes: field('VmRSS') * 1024,
    innerPid: Number(inner ?? pid),
  };
}

function descendants(root: number): number[] {
  const found = [root];
  for (let at = 0; at < found.length && found.length < MAX_MEMBERS; at += 1) {
    const pid = found[at] as number;
    for (const thread of threadsOf(pid)) {
      const children = readText(`/proc/${pid}/task/${thread}/children`)?.trim() ?? '';
      if (children !== '') found.push(...children.split(' ').map(Number));
    }
  }
  return found;
}

/** Thread ids of a process; none when it is gone. */
export function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}
