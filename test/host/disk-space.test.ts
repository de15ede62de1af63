import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createDiskWatch, type DiskSpace } from '../../src/host/disk-space.js';
import { createKeptStorage } from '../../src/host/kept-storage.js';
import type { Slot } from '../../src/host/slot.js';
import { requireToolchain, type ToolPresence } from '../toolchain.js';
import { atEnd, cleanUp, directory } from './host-rig.js';
import { makeDirectory } from './spawned-host.js';

afterEach(cleanUp);

const MIB = 1024 * 1024;
const log = createSilentLogger();

/** A file system of a test's own: only root may mount one. */
function mountPresence(): ToolPresence {
  const dir = makeDirectory();
  try {
    mountAt(dir);
    execFileSync('umount', [dir], { stdio: 'pipe' });
    return { available: true };
  } catch (error) {
    return { available: false, reason: `nothing can be mounted: ${String(error)}` };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function mountAt(dir: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'none', dir], { stdio: 'pipe' });
}

describe.skipIf(requireToolchain('a file system that is full', mountPresence()).skip)('a real disk that fills', () => {
  it('C160: is told once while it is low, and again when it becomes low anew', async () => {
    const disk = join(directory(), 'disk');
    mkdirSync(disk);
    mountAt(disk);
    atEnd(() => execFileSync('umount', ['-l', disk]));
    const told: DiskSpace[] = [];
    const watch = createDiskWatch({ directories: { data: disk }, onLow: (space) => told.push(space), log });
    const filler = join(disk, 'filler');
    const fill = (leftBytes: number): void => {
      rmSync(filler, { force: true });
      const { bavail, bsize } = statfsSync(disk);
      writeFileSync(filler, Buffer.alloc(bavail * bsize - leftBytes));
    };
    await watch.look();
    expect(told).toEqual([]);
    for (let again = 1; again <= 2; again++) {
      fill(0.5 * MIB);
      for (let i = 0; i < 3; i++) await watch.look();
      expect(told).toHaveLength(again);
      fill(8 * MIB);
      await watch.look();
    }
    expect(told[0]).toEqual({ holds: 'data', availableBytes: 0.5 * MIB, totalBytes: 16 * MIB });
  });
});

describe('the upkeep of storages', () => {
  it('is due when a module has deleted much, and gives the room back', async () => {
    const storage = createKeptStorage({ dataDir: directory() } as never, createSystemClock(), log);
    atEnd(() => storage.close());
    const slot = {
      name: 'keeper',
      manifest: { capabilities: ['WRITE_STORAGE'], storage: {} },
      settings: {},
    } as unknown as Slot;
    await storage.prepare(slot);
    const end = new AbortController();
    atEnd(() => end.abort());
    const session = { ended: end.signal } as never;
    const { impl } = storage.serve(session, { slot } as never) as unknown as { impl: StorageImpl };
    const context = { signal: end.signal };
    await impl.openTree({ name: 't' }, context);
    const key = (i: number) => Buffer.from(`key${i}`);
    for (let i = 0; i < 18; i++) {
      await impl.put({ tree: 't', key: key(i), value: Buffer.alloc(MIB - 64, i) }, context);
    }
    expect(await storage.upkeep.isDue()).toBe(false);
    for (let i = 0; i < 18; i++) await impl.delete({ tree: 't', key: key(i) }, context);
    expect(await storage.upkeep.isDue()).toBe(true);
    expect(await storage.upkeep.run(end.signal)).toMatch(/^\d{8} bytes of 1 storages given back$/);
    expect(await storage.upkeep.isDue()).toBe(false);
  });
});

type StorageImpl = Record<'openTree' | 'put' | 'delete', (request: object, context: object) => Promise<unknown>>;
