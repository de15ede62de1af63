import type { DiskNumbers } from '../admin/prometheus.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { EventHub } from '../events/hub.js';
import { createDiskWatch, type MeasureDisk } from './disk-space.js';
import { createMaintenanceEvents, type MaintenanceTypeName } from './maintenance-events.js';
import { judgeNode } from './node-checkup.js';
import type { NodeWatch } from './node-status.js';
import type { HostOptions } from './options.js';

/** How often modules are asked to look after their data when they find the time, milliseconds: four times a day. */
const UPKEEP_PACE_MS = 6 * 3_600_000;
/** How often the node's health is judged and told, milliseconds: a few questions that any node answers from memory. */
const CHECKUP_PACE_MS = 60_000;
/** The first judgement comes this long after the start, milliseconds: modules that start with the host hear it. */
const FIRST_CHECKUP_MS = 10_000;

/** A long job of the host's own, done at its turn. */
export interface UpkeepJob {
  readonly type: MaintenanceTypeName;
  /** True when there is something to do: a job that finds nothing is not told. */
  isDue(): Promise<boolean>;
  /** @returns what came of it, in words for people; no path or secret of the host */
  run(signal: AbortSignal): Promise<string>;
}

/** The times of a host's upkeep, milliseconds. */
export interface UpkeepPaces {
  readonly upkeepMs: number;
  readonly checkupMs: number;
  readonly firstCheckupMs: number;
}

/** What a host does by itself from time to time, and tells: disk, node, data. */
export interface Upkeep {
  start(): void;
  /** Asks modules to write out what they hold, before they are stopped; nothing else is begun. */
  shutdown(noticeMs: number): void;
  /** Ends what is under way and waits for it. */
  stop(): Promise<void>;
  /** Free space as seen last. */
  disks(): readonly DiskNumbers[];
}

/** What upkeep is made of. */
export interface UpkeepParts {
  readonly options: Pick<HostOptions, 'dataDir' | 'socketDir'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hub: Pick<EventHub, 'publish'>;
  readonly nodeWatch: Pick<NodeWatch, 'status'>;
  readonly jobs?: readonly UpkeepJob[];
  readonly paces?: Partial<UpkeepPaces>;
  readonly measure?: MeasureDisk;
}

/** Makes the upkeep of one host. */
export function createUpkeep(parts: UpkeepParts): Upkeep {
  const { options, clock, log, jobs = [] } = parts;
  const paces: UpkeepPaces = {
    upkeepMs: UPKEEP_PACE_MS,
    checkupMs: CHECKUP_PACE_MS,
    firstCheckupMs: FIRST_CHECKUP_MS,
    ...parts.paces,
  };
  const events = createMaintenanceEvents(parts.hub);
  const end = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  let atWork: Promise<void> | undefined;
  let isChecking = false;

  const disks = createDiskWatch({
    directories: { data: options.dataDir, sockets: options.socketDir },
    onLow(space) {
      events.diskSpaceLow(space);
      events.dataMaintenance('LOW_DISK', 0);
    },
    log,
    ...(parts.measure === undefined ? {} : { measure: parts.measure }),
  });

  const checkUp = async (type: 'STARTUP' | 'PERIODIC'): Promise<void> => {
    if (isChecking) return;
    isChecking = true;
    try {
      const finding = judgeNode(await parts.nodeWatch.status(end.signal));
      if (!end.signal.aborted) events.healthCheck(type, finding);
    } catch (err) {
      log.warn({ err }, 'the health of the node could not be judged');
    } finally {
      isChecking = false;
    }
  };
  const work = async (job: UpkeepJob): Promise<void> => {
    if (end.signal.aborted || !(await job.isDue())) return;
    const startedMs = clock.monotonicMs();
    events.maintenanceStarted(job.type);
    const over = (success: boolean, results: string): void =>
      events.maintenanceCompleted(job.type, success, clock.monotonicMs() - startedMs, results);
    try {
      over(true, await job.run(end.signal));
    } catch (thrown) {
      const error = HostError.from(thrown);
      log.warn({ job: job.type, err: error }, 'upkeep of the host failed');
      over(false, error.reason);
    }
  };
  const keepUp = async (): Promise<void> => {
    events.dataMaintenance('PERIODIC', 0);
    for (const job of jobs) {
      await work(job).catch((err: unknown) => log.warn({ job: job.type, err }, 'upkeep of the host failed'));
    }
  };
  const later = (timer: NodeJS.Timeout): void => {
    // upkeep is no reason for a process to stay
    timers.push(timer.unref());
  };

  return {
    start() {
      disks.start();
      const firstCheckup = setTimeout(() => {
        void checkUp('STARTUP');
        later(setInterval(() => void checkUp('PERIODIC'), paces.checkupMs));
      }, paces.firstCheckupMs);
      later(firstCheckup);
      later(
        setInterval(() => {
          // one that still runs takes the place of the next
          atWork ??= keepUp().finally(() => {
            atWork = undefined;
          });
        }, paces.upkeepMs),
      );
    },
    shutdown(noticeMs) {
      for (const timer of timers) clearTimeout(timer);
      disks.stop();
      events.dataMaintenance('SHUTDOWN', noticeMs);
    },
    async stop() {
      for (const timer of timers) clearTimeout(timer);
      disks.stop();
      end.abort(new HostError('HOST_STOPPING', 'the host is stopping'));
      await atWork;
    },
    disks: disks.spaces,
  };
}
