import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { GroupPowers, ResourceGroup } from '../sandbox/group.js';
import type { ResourceLimits } from '../sandbox/limits.js';
import { createDiskMeter } from './disk-meter.js';
import { createMembers } from './members.js';
import { lowerPriority } from './priority.js';
import { type FileUsage, measureFiles, measureMemory, measureProcesses, type ProcessUsage } from './usage.js';

/** Resources that are watched. */
export type WatchedResource = 'memory' | 'cpu' | 'pids' | 'disk' | 'openFiles';

/** What one module uses, all its processes together. */
export interface LiveUsage {
  /** Proportional share of memory, bytes; see `measureMemory`. */
  readonly memoryBytes: number;
  readonly chargedBytes: number | undefined;
  readonly cpuMs: number;
  /** Over the last interval, percent of one core. */
  readonly cpuPercent: number;
  readonly pids: number;
  readonly openFiles: number;
  readonly dataBytes: number;
  readonly measuredUnixMs: number;
}

/** A resource of which most is used. */
export interface LimitWarning {
  readonly resource: WatchedResource;
  /** Bytes, a number, or for the processor percent of one core. */
  readonly usage: number;
  /** In the same unit. */
  readonly limit: number;
  readonly thresholdPercent: number;
}

/** One running module to watch. */
export interface WatchedSpawn {
  readonly name: string;
  /** Its own program. */
  readonly pid: number;
  readonly group: ResourceGroup | undefined;
  /** Its data directory, absolute and free of links. */
  readonly dataDir: string;
  readonly limits: ResourceLimits;
  /** Called once for each time that a resource comes near its limit. */
  onWarning(warning: LimitWarning): void;
  /** Hears of every look at it. */
  onSample?(usage: LiveUsage): void;
  /** The module is over a limit that nobody else holds, and must be ended. Called at most once. */
  onBreach(error: HostError): void;
}

/** The watch over one spawn. */
export interface SpawnWatch {
  /** The latest figures; undefined before the first. */
  usage(): LiveUsage | undefined;
  /** The module is Ready: from now on its share of the processor holds. */
  ready(): void;
  /** Ends the watch; to be called when the process has ended. */
  close(): void;
}

/** Watches the modules of a host. */
export interface Watch {
  add(spawn: WatchedSpawn): SpawnWatch;
}

/** What a watch works with. */
export interface WatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** What control groups hold; the rest is held by watching. */
  readonly powers: GroupPowers | undefined;
}

/** A warning is told at this share of a limit, and again only after the use fell below the other, percent. */
const WARN_PERCENT = 80;
const REARM_PERCENT = 70;
/** Usual time between two samples, milliseconds. */
const INTERVAL_MS = 1_000;
/** Between samples of what comes near a limit that only the watch holds: above half of it, and where warnings begin. */
const NEAR_INTERVAL_MS = 250;
const CLOSE_INTERVAL_MS = 100;
/** A sample over the limit is confirmed by a second one after this time, milliseconds: an instant's peak kills nobody. */
const CONFIRM_MS = 50;
/** After a sample that took long, a pause of so many times as long, up to the longest, milliseconds. */
const COST_SHARE = 10;
const LONGEST_PAUSE_MS = 2_000;
/** Proportional memory is measured in every so many samples; always where the resident one comes near the limit. */
const MEMORY_EVERY = 5;
/** Processor time is judged over this time, milliseconds: bursts are normal. */
const CPU_WINDOW_MS = 5_000;
/** Walks in a row that could not see the whole data directory before the module is ended. */
const BLIND_WALKS = 2;
const MIB = 1024 * 1024;

/**
 * Makes the watch of a host: it measures what modules use, warns before limits, and holds those limits that neither the
 * kernel nor the file system holds here. What it ends has used too much in two samples in a row. It cannot catch what
 * grows faster than it looks; bounds of single processes and files, set at the start, stand behind it.
 */
export function createWatch(options: WatchOptions): Watch {
  return { add: (spawn) => watchSpawn(options, spawn) };
}

function watchSpawn({ clock, logger, powers }: WatchOptions, spawn: WatchedSpawn): SpawnWatch {
  const { limits, group } = spawn;
  const holds = group === undefined ? undefined : powers;
  const memoryLimit = limits.memoryMb * MIB;
  const dataLimit = limits.dataMb * MIB;
  const members = createMembers(spawn.pid, group);
  const disk = createDiskMeter(spawn.dataDir);
  const warned = new Set<WatchedResource>();
  /** What was over its limit in the sample before. */
  const suspects = new Set<WatchedResource>();
  const cpuTimes: { atMs: number; cpuMs: number }[] = [];
  let usage: LiveUsage | undefined;
  let memoryBytes = 0;
  let samples = 0;
  let blindWalks = 0;
  let pidsRefused = 0;
  let isReady = false;
  let isYielding = false;
  let isOver = false;
  let timer: NodeJS.Timeout | undefined;

  const breach = (error: HostError): void => {
    if (isOver) return;
    close();
    spawn.onBreach(error);
  };

  /** Whether a resource is over its limit for the second sample in a row, for the first one, or not. */
  const suspicion = (resource: WatchedResource, isOverLimit: boolean): 'none' | 'first' | 'confirmed' => {
    if (!isOverLimit) {
      suspects.delete(resource);
      return 'none';
    }
    if (suspects.has(resource)) return 'confirmed';
    suspects.add(resource);
    return 'first';
  };

  const compare = (resource: WatchedResource, used: number, limit: number): void => {
    const percent = (used * 100) / limit;
    if (percent < REARM_PERCENT) warned.delete(resource);
    if (percent < WARN_PERCENT || warned.has(resource)) return;
    warned.add(resource);
    spawn.onWarning({ resource, usage: used, limit, thresholdPercent: WARN_PERCENT });
  };

  /** Percent of one core over the window, once it is full since Ready. */
  const averageCpu = (nowMs: number, cpuMs: number): { last: number; window: number | undefined } => {
    const before = cpuTimes.at(-1);
    cpuTimes.push({ atMs: nowMs, cpuMs });
    while (cpuTimes.length > 2 && nowMs - (cpuTimes[1]?.atMs ?? nowMs) >= CPU_WINDOW_MS) cpuTimes.shift();
    const share = (since: { atMs: number; cpuMs: number } | undefined): number =>
      since === undefined || nowMs <= since.atMs ? 0 : (Math.max(0, cpuMs - since.cpuMs) * 100) / (nowMs - since.atMs);
    const [oldest] = cpuTimes;
    const isFull = isReady && oldest !== undefined && nowMs - oldest.atMs >= CPU_WINDOW_MS;
    return { last: share(before), window: isFull ? share(oldest) : undefined };
  };

  /** Answers true when a second look is needed at once. */
  const judgeMemory = (processes: ProcessUsage): boolean => {
    // what the group is charged with holds the page cache too, which the kernel gives up before it kills
    const used =
      holds?.memory === undefined
        ? memoryBytes
        : Math.min(processes.residentBytes, processes.chargedBytes ?? processes.residentBytes);
    compare('memory', used, memoryLimit);
    if ((processes.oomKills ?? 0) > 0) {
      // version 1 ends one process of the group; half a module is none
      breach(
        new HostError('MEMORY_LIMIT', `${spawn.name} needed more memory than its limit of ${limits.memoryMb} MiB`, {
          details: { limitMb: limits.memoryMb, by: holds?.memory ?? '', oomKills: processes.oomKills ?? 0 },
        }),
      );
      return false;
    }
    const found = suspicion('memory', holds?.memory === undefined && memoryBytes > memoryLimit);
    if (found !== 'confirmed') return found === 'first';
    const usedMb = Math.round(memoryBytes / MIB);
    breach(
      new HostError(
        'MEMORY_LIMIT',
        `${spawn.name} used ${usedMb} MiB of memory, which is over its limit of ${limits.memoryMb} MiB`,
        { details: { limitMb: limits.memoryMb, usedMb, by: 'watch' } },
      ),
    );
    return false;
  };

  const judgeDisk = (bytes: number, walked: boolean): boolean => {
    compare('disk', bytes, dataLimit);
    if (walked) blindWalks = disk.obstacle() === undefined ? 0 : blindWalks + 1;
    if (blindWalks >= BLIND_WALKS) {
      breach(
        new HostError('DISK_LIMIT', `the data directory of ${spawn.name} cannot be measured: ${disk.obstacle()}`, {
          details: { limitMb: limits.dataMb, by: 'watch' },
        }),
      );
    }
    // a walk under way still counts with what the one before has found
    if (!walked) return suspects.has('disk');
    const found = suspicion('disk', bytes > dataLimit);
    if (found !== 'confirmed') return found === 'first' || blindWalks > 0;
    const usedMb = Math.round(bytes / MIB);
    breach(
      new HostError(
        'DISK_LIMIT',
        `the data directory of ${spawn.name} has ${usedMb} MiB or more, which is over its limit of ${limits.dataMb} MiB`,
        { details: { limitMb: limits.dataMb, usedMb, by: 'watch' } },
      ),
    );
    return false;
  };

  const judgePids = ({ pids }: ProcessUsage): boolean => {
    const found = suspicion('pids', holds?.pids === undefined && pids > limits.pids);
    if (found !== 'confirmed') return found === 'first';
    breach(
      new HostError(
        'QUOTA_EXCEEDED',
        `${spawn.name} had ${pids} processes and threads, over its limit of ${limits.pids}`,
        {
          details: { limit: limits.pids, used: pids, by: 'watch' },
        },
      ),
    );
    return false;
  };

  const judgeShares = (processes: ProcessUsage, files: FileUsage, cpu: number | undefined): void => {
    const refused = processes.pidsRefused ?? 0;
    // forks that fail leave nothing to see: the counter tells that the number was reached between two samples
    compare('pids', refused > pidsRefused ? limits.pids : processes.pids, limits.pids);
    pidsRefused = refused;
    compare('openFiles', files.openFiles, limits.openFiles);
    if (cpu === undefined) return;
    compare('cpu', cpu, limits.cpuPercent);
    if (holds?.cpu !== undefined || cpu <= limits.cpuPercent) return;
    if (!isYielding) {
      logger.warn(
        { module: spawn.name, cpuPercent: Math.round(cpu) },
        'over its share of the processor, which nothing bounds here: it gets the lowest priority',
      );
    }
    isYielding = true;
  };

  /** One look at everything; answers the milliseconds to the next. */
  const sample = async (): Promise<number> => {
    const beganMs = clock.monotonicMs();
    const processes = measureProcesses(members, group);
    const isNear = holds?.memory === undefined && processes.residentBytes * 2 > memoryLimit;
    if (isNear || samples % MEMORY_EVERY === 0) memoryBytes = await measureMemory(processes.members);
    // between measurements the cheap figure bounds it
    memoryBytes = Math.min(memoryBytes, processes.residentBytes);
    samples += 1;
    const files = await measureFiles(processes.members, disk.device());
    const walked = await disk.step(Math.max(0, dataLimit - files.unlinkedBytes));
    const dataBytes = disk.bytes() + files.unlinkedBytes;
    const nowMs = clock.monotonicMs();
    const { last, window } = averageCpu(nowMs, processes.cpuMs);
    if (isOver) return INTERVAL_MS;
    usage = {
      memoryBytes,
      chargedBytes: processes.chargedBytes,
      cpuMs: processes.cpuMs,
      cpuPercent: last,
      pids: processes.pids,
      openFiles: files.openFiles,
      dataBytes,
      measuredUnixMs: clock.unixMs(),
    };
    spawn.onSample?.(usage);
    if (isYielding) lowerPriority(processes.members);
    judgeShares(processes, files, window);
    const again = [judgeMemory(processes), judgeDisk(dataBytes, walked), judgePids(processes)];
    if (again.includes(true)) return CONFIRM_MS;
    const nearest = Math.max(holds?.memory === undefined ? memoryBytes / memoryLimit : 0, dataBytes / dataLimit);
    const pause = nearest * 100 > WARN_PERCENT ? CLOSE_INTERVAL_MS : nearest > 0.5 ? NEAR_INTERVAL_MS : INTERVAL_MS;
    return Math.max(pause, Math.min(LONGEST_PAUSE_MS, (nowMs - beganMs) * COST_SHARE));
  };

  const run = (): void => {
    timer = undefined;
    sample()
      .catch((err: unknown) => {
        logger.warn({ module: spawn.name, err }, 'what a module uses could not be measured');
        return INTERVAL_MS;
      })
      .then((pauseMs) => {
        if (isOver) void disk.close();
        else timer = setTimeout(run, pauseMs).unref();
      });
  };

  const close = (): void => {
    if (isOver) return;
    isOver = true;
    // a sample under way lets go by itself
    if (timer === undefined) return;
    clearTimeout(timer);
    void disk.close();
  };

  timer = setTimeout(run, 0).unref();
  return {
    usage: () => usage,
    ready() {
      isReady = true;
      cpuTimes.length = 0;
      group?.setCpuPercent(limits.cpuPercent);
    },
    close,
  };
}
