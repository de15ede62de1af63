import { stat, statfs } from 'node:fs/promises';
import { HostError } from '../contract/error.js';
import type { Logger } from '../core/logger.js';

/** How often free space is looked at, milliseconds: a disk that fills by a gigabyte in less fills anyway. */
const LOOK_PACE_MS = 10_000;
/** Free space is low below this share of the file system, or below LOW_BYTES where that is less. */
const LOW_SHARE = 0.05;
/** Free space that is enough on any disk, bytes: a disk of two terabytes is not low at 100 GB. */
const LOW_BYTES = 1024 ** 3;
/** Low space is over above this multiple of the threshold, so that a disk at the threshold is not told again and again. */
const RELIEF = 1.5;

/** Free space of one file system. */
export interface DiskSpace {
  /** What the host keeps on it: `data`, `sockets`. */
  readonly holds: string;
  /** What the host's user can still write. */
  readonly availableBytes: number;
  readonly totalBytes: number;
}

/** Measures the file system that a directory lies on. */
export type MeasureDisk = (directory: string) => Promise<{
  /** Number of the file system: two directories with the same one are told once. */
  readonly device: number | bigint;
  readonly availableBytes: number;
  readonly totalBytes: number;
}>;

/** The watch over free space. */
export interface DiskWatch {
  /** Looks at once, and then at a pace. */
  start(): void;
  /** Looks now. Never rejects. */
  look(): Promise<void>;
  /** As seen last; empty before the first look. */
  spaces(): readonly DiskSpace[];
  stop(): void;
}

/** What a watch is made of. */
export interface DiskWatchOptions {
  /** Directories by what they hold; the first of a file system gives its word. */
  readonly directories: Readonly<Record<string, string>>;
  /** Space has become low: once for each crossing. */
  onLow(space: DiskSpace): void;
  readonly log: Logger;
  readonly measure?: MeasureDisk;
}

/** Makes a watch that has not looked yet. */
export function createDiskWatch({ directories, onLow, log, measure = measureDisk }: DiskWatchOptions): DiskWatch {
  let spaces: DiskSpace[] = [];
  const low = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;
  let isBlind = false;
  let isOver = false;

  const judge = (space: DiskSpace): void => {
    const { holds, availableBytes, totalBytes } = space;
    const threshold = Math.min(LOW_BYTES, totalBytes * LOW_SHARE);
    if (low.has(holds)) {
      if (availableBytes > threshold * RELIEF && low.delete(holds))
        log.info({ holds }, 'there is room on the disk again');
    } else if (availableBytes < threshold) {
      low.add(holds);
      log.warn({ holds, availableBytes, totalBytes }, 'the disk is nearly full');
      onLow(space);
    }
  };
  const lookOnce = async (): Promise<void> => {
    const seen = new Map<number | bigint, DiskSpace>();
    for (const [holds, directory] of Object.entries(directories)) {
      const { device, ...found } = await measure(directory);
      if (!seen.has(device)) seen.set(device, { holds, ...found });
    }
    if (isOver) return;
    spaces = [...seen.values()];
    isBlind = false;
    for (const space of spaces) judge(space);
  };
  const look = (): Promise<void> => {
    // a file system that does not answer is asked once, not once per look
    looking ??= lookOnce()
      .catch((thrown: unknown) => {
        if (!isBlind && !isOver) log.warn({ err: HostError.from(thrown) }, 'free space cannot be measured');
        isBlind = true;
      })
      .finally(() => {
        looking = undefined;
      });
    return looking;
  };
  return {
    start() {
      void look();
      timer ??= setInterval(() => void look(), LOOK_PACE_MS);
      // a watch is no reason for a process to stay
      timer.unref();
    },
    look,
    spaces: () => spaces,
    stop() {
      isOver = true;
      clearInterval(timer);
    },
  };
}

const measureDisk: MeasureDisk = async (directory) => {
  const [{ dev }, { bavail, blocks, bsize }] = await Promise.all([stat(directory), statfs(directory)]);
  return { device: dev, availableBytes: bavail * bsize, totalBytes: blocks * bsize };
};
