import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { NodeStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { MaintenanceReason, MaintenanceUrgency } from '../../gen/ts/modhost/event/v1/maintenance.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import type { EventPayload } from '../../src/contract/event-type.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import type { EventHub } from '../../src/events/hub.js';
import { createDiskWatch, type DiskSpace } from '../../src/host/disk-space.js';
import { judgeNode } from '../../src/host/node-checkup.js';
import { createUpkeep, type UpkeepJob } from '../../src/host/upkeep.js';

const GIB = 1024 ** 3;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const log = createSilentLogger();

const node = (more: Partial<NodeStatus> = {}): NodeStatus =>
  ({ reachable: true, tipHeight: 100, headerHeight: 100, initialBlockDownload: false, ...more }) as NodeStatus;

describe('the watch over free space', () => {
  const rig = (totalBytes: number) => {
    const told: DiskSpace[] = [];
    let availableBytes = totalBytes;
    let isBroken = false;
    const watch = createDiskWatch({
      directories: { data: '/data', sockets: '/sockets' },
      onLow: (space) => told.push(space),
      log,
      measure: async (directory) => {
        if (isBroken) throw new Error('ENOENT');
        return directory === '/data'
          ? { device: 1, availableBytes, totalBytes }
          : { device: 2, availableBytes: GIB, totalBytes: GIB };
      },
    });
    return {
      told,
      watch,
      free(bytes: number) {
        availableBytes = bytes;
        return watch.look();
      },
      break() {
        isBroken = true;
      },
      mend() {
        isBroken = false;
      },
    };
  };

  it('C160: tells once when a disk becomes low, and again only after it was well above', async () => {
    const { told, free, watch } = rig(100 * GIB);
    await free(2 * GIB);
    expect(told).toEqual([]);
    await free(GIB - 1);
    await free(GIB / 2);
    await free(0);
    expect(told).toEqual([{ holds: 'data', availableBytes: GIB - 1, totalBytes: 100 * GIB }]);
    await free(1.4 * GIB);
    await free(GIB - 1);
    expect(told).toHaveLength(1);
    await free(1.6 * GIB);
    await free(GIB - 2);
    expect(told).toHaveLength(2);
    expect(watch.spaces()).toMatchObject([{ holds: 'data' }, { holds: 'sockets' }]);
  });

  it('takes a share where that is less: a small disk is not low all its life', async () => {
    const { told, free } = rig(GIB);
    await free(0.06 * GIB);
    expect(told).toEqual([]);
    await free(0.04 * GIB);
    expect(told).toHaveLength(1);
  });

  it('goes on when it cannot be measured for a while', async () => {
    const { told, free, ...disk } = rig(100 * GIB);
    disk.break();
    await free(0);
    expect(told).toEqual([]);
    disk.mend();
    await free(0);
    expect(told).toHaveLength(1);
  });

  it('tells of two directories on one file system once, and measures this machine', async () => {
    const told: DiskSpace[] = [];
    const watch = createDiskWatch({
      directories: { data: '/tmp', sockets: '/tmp' },
      onLow: (space) => told.push(space),
      log,
    });
    await watch.look();
    expect(watch.spaces()).toHaveLength(1);
    const [space] = watch.spaces();
    expect(space?.totalBytes).toBeGreaterThan(0);
    expect(space?.availableBytes).toBeLessThanOrEqual(space?.totalBytes ?? 0);
  });
});

describe('the judgement of a node', () => {
  it('is healthy at the tip, and unhealthy with a reason otherwise, without a word of the host’s own places', () => {
    expect(judgeNode(node({ headerHeight: 102 }))).toEqual({ nodeHealthy: true, healthReport: 'at height 100' });
    expect(judgeNode(node({ headerHeight: 103 })).nodeHealthy).toBe(false);
    expect(judgeNode(node({ initialBlockDownload: true, syncProgress: 0.4567 }))).toEqual({
      nodeHealthy: false,
      healthReport: 'in its initial download, 45.6 % verified',
    });
    const lastError = { reason: ErrorReason.NODE_UNAVAILABLE, message: '/secret/cookie', timeUnixMs: 0n };
    expect(judgeNode(node({ reachable: false, lastError }))).toEqual({
      nodeHealthy: false,
      healthReport: 'the node does not answer: NODE_UNAVAILABLE',
    });
  });
});

describe('the upkeep of a host', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] }));
  afterEach(() => void vi.useRealTimers());

  const rig = (jobs: readonly UpkeepJob[] = [], status: () => Promise<NodeStatus> = async () => node()) => {
    const published: EventPayload[] = [];
    const hub = { publish: (payload: EventPayload) => void published.push(payload) } as unknown as EventHub;
    let availableBytes = 50 * GIB;
    const upkeep = createUpkeep({
      options: { dataDir: '/data', socketDir: '/sockets' },
      clock: createSystemClock(),
      log,
      hub,
      nodeWatch: { status },
      jobs,
      measure: async () => ({ device: 1, availableBytes, totalBytes: 100 * GIB }),
    });
    const names = () => published.map(({ $case }) => $case);
    return {
      upkeep,
      published,
      names,
      without: (name: string) => names().filter((other) => other !== name),
      fill: () => {
        availableBytes = 0;
      },
    };
  };

  it('tells the health of the node soon after the start and every minute', async () => {
    const { upkeep, published } = rig();
    upkeep.start();
    await vi.advanceTimersByTimeAsync(9_000);
    expect(published).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_000 + 2 * MINUTE_MS);
    expect(published).toMatchObject([
      { $case: 'healthCheck', value: { checkType: 3, nodeHealthy: true } },
      { $case: 'healthCheck', value: { checkType: 1 } },
      { $case: 'healthCheck', value: { checkType: 1 } },
    ]);
    await upkeep.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('does not ask a node again that has not answered yet', async () => {
    let asked = 0;
    const { upkeep } = rig([], () => {
      asked += 1;
      return new Promise(() => {});
    });
    upkeep.start();
    await vi.advanceTimersByTimeAsync(10 * MINUTE_MS);
    expect(asked).toBe(1);
    await upkeep.stop();
  });

  it('C160: follows a low disk with the wish that modules clean up, once', async () => {
    const { upkeep, published, without, fill } = rig();
    upkeep.start();
    await vi.advanceTimersByTimeAsync(20_000);
    fill();
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(without('healthCheck')).toEqual(['diskSpaceLow', 'dataMaintenance']);
    expect(published.find(({ $case }) => $case === 'diskSpaceLow')?.value).toEqual({
      availableBytes: 0n,
      totalBytes: BigInt(100 * GIB),
      percentFree: 0,
      diskPath: 'data',
    });
    expect(published.find(({ $case }) => $case === 'dataMaintenance')?.value).toMatchObject({
      operation: 2,
      urgency: MaintenanceUrgency.HIGH,
      reason: MaintenanceReason.LOW_DISK,
    });
    await upkeep.stop();
  });

  it('asks modules for their upkeep at a slow pace, and tells of a job of its own when there is something to do', async () => {
    let due = true;
    const done: string[] = [];
    const cleanup: UpkeepJob = {
      type: 'CLEANUP',
      isDue: async () => due,
      async run() {
        done.push('cleanup');
        return '7 bytes of 1 storages given back';
      },
    };
    const broken: UpkeepJob = {
      type: 'PRUNE',
      isDue: async () => due,
      run: async () => Promise.reject(new Error('no')),
    };
    const { upkeep, published, without } = rig([broken, cleanup]);
    upkeep.start();
    await vi.advanceTimersByTimeAsync(6 * HOUR_MS - 1);
    expect(without('healthCheck')).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(without('healthCheck')).toEqual([
      'dataMaintenance',
      ...['maintenanceStarted', 'maintenanceCompleted', 'maintenanceStarted', 'maintenanceCompleted'],
    ]);
    expect(published.filter(({ $case }) => $case === 'maintenanceCompleted').map(({ value }) => value)).toMatchObject([
      { maintenanceType: 3, success: false, results: 'INTERNAL' },
      { maintenanceType: 2, success: true, results: '7 bytes of 1 storages given back' },
    ]);
    expect(published.find(({ $case }) => $case === 'dataMaintenance')?.value).toEqual({
      operation: 3,
      urgency: MaintenanceUrgency.LOW,
      reason: MaintenanceReason.PERIODIC,
      targetAgeDays: 0,
      timeoutMs: 0n,
    });
    due = false;
    published.length = 0;
    await vi.advanceTimersByTimeAsync(6 * HOUR_MS);
    expect(without('healthCheck')).toEqual(['dataMaintenance']);
    expect(done).toEqual(['cleanup']);
    await upkeep.stop();
  });

  it('asks for what is in memory before the modules are stopped, and begins nothing after that', async () => {
    const { upkeep, published } = rig();
    upkeep.start();
    upkeep.shutdown(100);
    expect(published).toEqual([
      {
        $case: 'dataMaintenance',
        value: {
          operation: 1,
          urgency: MaintenanceUrgency.HIGH,
          reason: MaintenanceReason.SHUTDOWN,
          targetAgeDays: 0,
          timeoutMs: 100n,
        },
      },
    ]);
    await vi.advanceTimersByTimeAsync(24 * HOUR_MS);
    expect(published).toHaveLength(1);
  });
});
