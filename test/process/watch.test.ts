import { type ChildProcess, spawn } from 'node:child_process';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HostError } from '../../src/contract/error.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createDiskMeter, type DiskMeter } from '../../src/process/disk-meter.js';
import { createMembers } from '../../src/process/members.js';
import { measureFiles, measureMemory, measureProcesses } from '../../src/process/usage.js';
import { createWatch, type LimitWarning, type SpawnWatch } from '../../src/process/watch.js';
import { DEFAULT_LIMITS, type ResourceLimits } from '../../src/sandbox/limits.js';
import { createPlace, sandboxToolchain } from '../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();

const MIB = 1024 * 1024;

let dir: string;
const children: ChildProcess[] = [];
const watches: SpawnWatch[] = [];
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'modhost-watch-')));
});
afterEach(() => {
  for (const watch of watches.splice(0)) watch.close();
  for (const { pid } of children.splice(0)) {
    try {
      process.kill(-(pid as number), 'SIGKILL');
    } catch {
      // it has ended
    }
  }
  rmSync(dir, { recursive: true, force: true });
});

const until = async (what: string, holds: () => boolean): Promise<void> => {
  for (let waited = 0; !holds(); waited += 20) {
    if (waited > 20_000) throw new Error(`it did not come about: ${what}`);
    await sleep(20);
  }
};

/** Starts a Python program; resolves when it has written its first line. */
const python = async (code: string): Promise<number> => {
  const child = spawn('python3', ['-c', code], { detached: true, stdio: ['ignore', 'pipe', 'inherit'], cwd: dir });
  children.push(child);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child.pid as number;
};

describe('what the processes of a module use', () => {
  it('is summed over all of them: memory in proportion, threads, processor time, open files', async () => {
    const pid = await python(`
import os, threading, time
x = bytearray([1]) * (64 << 20)
os.fork()
files = [open('/dev/null') for i in range(30)]
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
end = time.process_time() + 0.2
while time.process_time() < end: pass
print('up', flush=True)
time.sleep(60)`);
    const members = createMembers(pid, undefined);
    await until('both to be busy no more', () => measureProcesses(members, undefined).cpuMs >= 380);
    const processes = measureProcesses(members, undefined);
    expect(processes.members).toHaveLength(2);
    expect(processes.pids).toBe(4);
    const memory = await measureMemory(processes.members);
    // 64 MiB that both share count once, though each of them has them
    expect(memory).toBeGreaterThan(60 * MIB);
    expect(memory).toBeLessThan(110 * MIB);
    expect(processes.residentBytes).toBeGreaterThan(memory);
    expect((await measureFiles(processes.members, undefined)).openFiles).toBeGreaterThanOrEqual(33);
  });

  it.skipIf(skip)('finds all that is in a sandbox, orphans too, and leaves out the sandbox itself', async () => {
    const place = await createPlace();
    try {
      const orphan = '(setsid sh -c "sleep 61 & sleep 62" &)';
      const running = await place.start(`#!/bin/sh\n${orphan}\nsleep 63 & echo up\nwait\n`);
      const members = createMembers(running.pid, undefined);
      // one may end between the list and the look: a shell on its way to become another program forks for a moment
      const names = () =>
        members.list().flatMap((pid) => {
          try {
            return [readFileSync(`/proc/${pid}/comm`, 'latin1').trim()];
          } catch {
            return [];
          }
        });
      await until('all of them', () => names().length === 5);
      expect(names().sort()).toEqual(['main', 'sh', 'sleep', 'sleep', 'sleep']);
      expect(members.list()).toContain(running.pid);
      expect(await measureMemory(members.list())).toBeGreaterThan(0);
      expect((await measureFiles(members.list(), undefined)).openFiles).toBeGreaterThan(2);
      await running.kill();
      await until('none of them', () => members.list().length === 0);
    } finally {
      await place.remove();
    }
  });

  it('is nothing for a process that has gone', async () => {
    const pid = await python('print("up", flush=True)');
    const count = () => measureProcesses(createMembers(pid, undefined), undefined);
    await until('the end', () => count().pids === 0);
    expect(count()).toMatchObject({ residentBytes: 0, cpuMs: 0, pids: 0 });
    expect(await measureMemory([pid])).toBe(0);
    expect(await measureFiles([pid], undefined)).toEqual({ openFiles: 0, unlinkedBytes: 0 });
  });
});

describe('the size of a data directory', () => {
  const walk = async (meter: DiskMeter, enough = Number.POSITIVE_INFINITY): Promise<number> => {
    while (!(await meter.step(enough)));
    return meter.bytes();
  };

  it('counts blocks, hard links once, and neither follows links nor believes sizes', async () => {
    writeFileSync(join(dir, 'a'), Buffer.alloc(2 * MIB, 1));
    linkSync(join(dir, 'a'), join(dir, 'b'));
    mkdirSync(join(dir, 'c', 'd'), { recursive: true });
    writeFileSync(join(dir, 'c', 'd', 'e'), Buffer.alloc(MIB, 1));
    // a hole of 1 TiB takes no room
    writeFileSync(join(dir, 'hole'), '');
    truncateSync(join(dir, 'hole'), 2 ** 40);
    symlinkSync('/usr', join(dir, 'link'));
    // a name that is no UTF-8
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe])]), Buffer.alloc(MIB, 1));
    const meter = createDiskMeter(dir);
    const bytes = await walk(meter);
    expect(bytes).toBeGreaterThanOrEqual(4 * MIB);
    expect(bytes).toBeLessThan(4.2 * MIB);
    expect(meter.obstacle()).toBeUndefined();
  });

  it('takes a large directory in pieces, and stops where enough was seen', async () => {
    for (let i = 0; i < 5_000; i += 1) writeFileSync(join(dir, `f${i}`), '');
    const meter = createDiskMeter(dir);
    expect(await meter.step(Number.POSITIVE_INFINITY)).toBe(false);
    await walk(meter);
    writeFileSync(join(dir, 'big'), Buffer.alloc(4 * MIB, 1));
    expect(await walk(meter, MIB)).toBeGreaterThan(0);
    await meter.close();
  });

  it('says when a tree is too deep to be seen, and survives one that is torn down meanwhile', async () => {
    let deep = dir;
    for (let i = 0; i < 80; i += 1) deep = join(deep, 'd');
    mkdirSync(deep, { recursive: true });
    const meter = createDiskMeter(dir);
    await walk(meter);
    expect(meter.obstacle()).toContain('deeper');
    const step = meter.step(Number.POSITIVE_INFINITY);
    rmSync(join(dir, 'd'), { recursive: true });
    await step;
    await walk(meter);
    expect(meter.obstacle()).toBeUndefined();
    rmSync(dir, { recursive: true });
    expect(await walk(meter)).toBe(0);
  });
});

describe('the watch without control groups', () => {
  const watch = (pid: number, limits: Partial<ResourceLimits>) => {
    const warnings: LimitWarning[] = [];
    const breaches: HostError[] = [];
    const made = createWatch({ clock: createSystemClock(), logger: createSilentLogger(), powers: undefined }).add({
      name: 'probe',
      pid,
      group: undefined,
      dataDir: dir,
      limits: { ...DEFAULT_LIMITS, ...limits },
      onWarning: (warning) => warnings.push(warning),
      onBreach: (error) => breaches.push(error),
    });
    watches.push(made);
    return { made, warnings, breaches };
  };

  it('warns once at 80 percent, and again only after the use fell below 70', async () => {
    const pid = await python(`
import time
def use(n):
    files = [open('/dev/null') for i in range(n)]
    print('up', flush=True)
    time.sleep(3)
use(60); time.sleep(3); use(60)`);
    const { made, warnings, breaches } = watch(pid, { openFiles: 70 });
    await until('two warnings', () => warnings.length >= 2);
    expect(warnings.slice(0, 2)).toEqual([
      expect.objectContaining({ resource: 'openFiles', limit: 70, thresholdPercent: 80 }),
      expect.objectContaining({ resource: 'openFiles', limit: 70, thresholdPercent: 80 }),
    ]);
    expect(breaches).toEqual([]);
    expect(made.usage()).toMatchObject({ pids: 1, chargedBytes: undefined });
  });

  it('C144: ends what uses too much memory in sum, after a second look', async () => {
    const pid = await python(`
import os, time
x = bytearray([1]) * (8 << 20)
print('up', flush=True)
for i in range(4):
    if os.fork() == 0:
        x = bytearray([i]) * (30 << 20)
        time.sleep(60)
time.sleep(60)`);
    const { breaches } = watch(pid, { memoryMb: 64 });
    await until('the breach', () => breaches.length > 0);
    expect(breaches).toEqual([expect.objectContaining({ reason: 'MEMORY_LIMIT' })]);
    await sleep(1_500);
    expect(breaches).toHaveLength(1);
  });

  it('C144: ends what fills its directory, with files that were deleted while open too', async () => {
    const pid = await python(`
import os, time
f = open('hidden', 'wb'); os.unlink('hidden')
print('up', flush=True)
for i in range(200):
    f.write(b'x' * (1 << 20)); f.flush()
    time.sleep(0.01)
time.sleep(60)`);
    const { breaches, warnings } = watch(pid, { dataMb: 32 });
    await until('the breach', () => breaches.length > 0);
    expect(breaches).toEqual([expect.objectContaining({ reason: 'DISK_LIMIT' })]);
    expect(warnings.map(({ resource }) => resource)).toContain('disk');
  });

  it('C144: ends what has more processes and threads than it may', async () => {
    const pid = await python(`
import threading, time
for i in range(20): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print('up', flush=True)
time.sleep(60)`);
    const { breaches } = watch(pid, { pids: 10 });
    await until('the breach', () => breaches.length > 0);
    expect(breaches).toEqual([expect.objectContaining({ reason: 'QUOTA_EXCEEDED' })]);
  });

  it('C144: gives the lowest priority to what takes more of the processor than its share', async () => {
    const pid = await python(`
print('up', flush=True)
while True: pass`);
    const { made, warnings } = watch(pid, { cpuPercent: 5 });
    made.ready();
    const { getPriority } = await import('node:os');
    expect(getPriority(pid)).toBe(0);
    await until('the lowest priority', () => getPriority(pid) === 19);
    expect(warnings.map(({ resource }) => resource)).toContain('cpu');
    expect(made.usage()?.cpuPercent).toBeGreaterThan(5);
  });
});
