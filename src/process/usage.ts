import { readdir, readFile, stat } from 'node:fs/promises';
import type { ResourceGroup } from '../sandbox/group.js';
import { processFields } from '../sandbox/proc.js';
import { type Members, statusOf } from './members.js';

/** Ticks of the clock in which `/proc/PID/stat` counts, per second; the same on every Linux. @see proc_pid_stat(5) */
const TICKS_PER_SECOND = 100;
/** Open files of all processes of a module that are looked into in one sample. */
const MAX_FILES_LOOKED_INTO = 4_096;

/** What the processes of one module use at one moment. */
export interface ProcessUsage {
  /** Sum of their resident memory, bytes: never less than what they really take, shared pages counted in each. */
  readonly residentBytes: number;
  /** What their control group is charged with, bytes; undefined without one. */
  readonly chargedBytes: number | undefined;
  /** Processor time since the start, milliseconds. */
  readonly cpuMs: number;
  /** Processes and threads. */
  readonly pids: number;
  /** Processes that the kernel killed for want of memory since the group was made; undefined where nobody counts. */
  readonly oomKills: number | undefined;
  /** Forks and threads that the kernel refused; undefined where nobody counts. */
  readonly pidsRefused: number | undefined;
  readonly members: readonly number[];
}

/** Reads the cheap figures: microseconds for each process. */
export function measureProcesses(members: Members, group: ResourceGroup | undefined): ProcessUsage {
  const pids = members.list();
  const counted = group?.usage();
  let residentBytes = 0;
  let threads = 0;
  let ticks = 0;
  for (const pid of pids) {
    const status = statusOf(pid);
    if (status === undefined) continue;
    residentBytes += status.residentBytes;
    threads += status.threads;
    if (counted?.cpuMs === undefined) ticks += ticksOf(pid);
  }
  return {
    residentBytes,
    chargedBytes: counted?.chargedBytes,
    cpuMs: counted?.cpuMs ?? (ticks * 1_000) / TICKS_PER_SECOND,
    pids: threads,
    oomKills: counted?.oomKills,
    pidsRefused: counted?.pidsRefused,
    members: pids,
  };
}

/**
 * Memory of all these processes together, bytes: a page that n of them share counts for one n-th in each. Where the
 * kernel does not tell, their resident memory. The kernel walks their page tables for it: milliseconds for each GiB.
 */
export async function measureMemory(pids: readonly number[]): Promise<number> {
  let bytes = 0;
  for (const pid of pids) {
    const text = await readFile(`/proc/${pid}/smaps_rollup`, 'latin1').catch(() => '');
    const kib = /^Pss:\s+([0-9]+) kB$/m.exec(text)?.[1];
    bytes += kib === undefined ? (statusOf(pid)?.residentBytes ?? 0) : Number(kib) * 1_024;
  }
  return bytes;
}

/** What the open files of a module tell. */
export interface FileUsage {
  /** Open files of the process that has the most. */
  readonly openFiles: number;
  /** Bytes on disk of files that have no name any more and are still open, which no walk over the directory finds. */
  readonly unlinkedBytes: number;
}

/** Counts open files, and weighs those on the data directory's file system that were deleted while open. */
export async function measureFiles(pids: readonly number[], dataDevice: number | undefined): Promise<FileUsage> {
  let openFiles = 0;
  let looked = 0;
  const unlinked = new Map<number, number>();
  for (const pid of pids) {
    const names = await readdir(`/proc/${pid}/fd`).catch(() => [] as string[]);
    openFiles = Math.max(openFiles, names.length);
    const some = names.slice(0, MAX_FILES_LOOKED_INTO - looked);
    looked += some.length;
    if (dataDevice === undefined) continue;
    for (const found of await Promise.all(some.map((name) => stat(`/proc/${pid}/fd/${name}`).catch(() => undefined)))) {
      if (found === undefined || !found.isFile() || found.nlink > 0 || found.dev !== dataDevice) continue;
      unlinked.set(found.ino, found.blocks * 512);
    }
  }
  return { openFiles, unlinkedBytes: [...unlinked.values()].reduce((sum, bytes) => sum + bytes, 0) };
}

/** Processor time of a process and of its ended children that it has waited for, in ticks. */
function ticksOf(pid: number): number {
  const fields = processFields(pid);
  return [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields?.[at] ?? 0), 0);
}
