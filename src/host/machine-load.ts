import { readdir, readFile, statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { MachineLoad } from '../../gen/ts/modhost/admin/v1/top.js';

/** Files of the kernel's; a test may hand in those of another machine. */
export type ReadMachineText = (path: string) => Promise<string>;

/** Processor time of all cores together since the machine started, in ticks. */
export interface MachineTicks {
  readonly busy: number;
  readonly total: number;
  /** Cores that the figures are about. */
  readonly cores: number;
}

const readText: ReadMachineText = (path) => readFile(path, 'latin1').catch(() => '');

/** Places of `idle` and `iowait` among the figures of a line of /proc/stat. */
const IDLE_PLACES: readonly number[] = [3, 4];
/** `user` to `steal`: the two after them, time of guests, are part of `user` and `nice` already. */
const COUNTED_PLACES = 8;

/** What all cores have done so far. @see proc_stat(5) */
export async function readTicks(read: ReadMachineText = readText): Promise<MachineTicks> {
  const text = await read('/proc/stat');
  const figures = (/^cpu +([0-9 ]+)$/m.exec(text)?.[1] ?? '').split(' ').slice(0, COUNTED_PLACES).map(Number);
  const total = figures.reduce((sum, figure) => sum + figure, 0);
  const idle = IDLE_PLACES.reduce((sum, place) => sum + (figures[place] ?? 0), 0);
  const cores = text.match(/^cpu[0-9]+ /gm)?.length ?? 0;
  return { busy: total - idle, total, cores: Math.max(1, cores) };
}

/**
 * The machine between two moments.
 *
 * @param dataDir directory whose file system is told
 */
export async function measureMachine(
  before: MachineTicks,
  after: MachineTicks,
  dataDir: string,
  read: ReadMachineText = readText,
): Promise<MachineLoad> {
  const memory = await read('/proc/meminfo');
  const bytesOf = (word: string): bigint =>
    BigInt(new RegExp(`^${word}:\\s+([0-9]+) kB$`, 'm').exec(memory)?.[1] ?? 0) * 1024n;
  const disk = await statfs(dataDir, { bigint: true }).catch(() => undefined);
  const ticks = after.total - before.total;
  return {
    cores: availableParallelism(),
    cpuPercent: ticks <= 0 ? 0 : (100 * after.cores * Math.max(0, after.busy - before.busy)) / ticks,
    memoryBytes: bytesOf('MemTotal'),
    availableBytes: bytesOf('MemAvailable'),
    diskBytes: disk === undefined ? 0n : disk.blocks * disk.bsize,
    // what others than root can still use
    diskFreeBytes: disk === undefined ? 0n : disk.bavail * disk.bsize,
  };
}

/** Open files of this process. */
export async function countOpenFiles(): Promise<number> {
  const names = await readdir('/proc/self/fd').catch(() => [] as string[]);
  // one of them is the directory that is being read
  return Math.max(0, names.length - 1);
}
