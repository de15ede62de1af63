import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../host/spawned-host.js';
import { requireToolchain, type ToolPresence } from '../../toolchain.js';
import { atEnd, bytes, cleanUp, MIB, makeRoom, open, put, reasonOf, scan } from './rig.js';

afterEach(cleanUp);

/** A file system of a test's own, which can be filled: only root may mount one. */
function mountPresence(): ToolPresence {
  const dir = dirname(makeRoom());
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', dir], { stdio: 'pipe' });
    execFileSync('umount', [dir], { stdio: 'pipe' });
    return { available: true };
  } catch (error) {
    return { available: false, reason: `nothing can be mounted: ${String(error)}` };
  }
}

/** A directory on a disk of so many MiB. */
function smallDisk(sizeMb: number): string {
  const dir = join(dirname(makeRoom()), 'disk');
  mkdirSync(dir);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMb}m`, 'none', dir]);
  atEnd(() => execFileSync('umount', ['-l', dir]));
  return dir;
}

/** Takes all the room but so much. */
function fill(disk: string, leftBytes: number): string {
  const { bavail, bsize } = statfsSync(disk);
  const file = join(disk, 'filler');
  writeFileSync(file, Buffer.alloc(Math.max(0, bavail * bsize - leftBytes)));
  return file;
}

describe.skipIf(requireToolchain('a file system that is full', mountPresence()).skip)('a disk that is full', () => {
  it('C160: refuses writes with DISK_FULL, reads go on, and writes too once there is room, without a restart', async () => {
    const disk = smallDisk(24);
    const room = join(disk, 'storage');
    let store = await open(room);
    await store.openTree('t');
    const acknowledged = new Map<string, string>();
    const write = async (key: string, value: Buffer): Promise<string> => {
      const outcome = await reasonOf(put(store, 't', key, value));
      if (outcome === 'OK') acknowledged.set(key, value.toString('latin1'));
      return outcome;
    };
    await write('before', Buffer.from('1'));
    const filler = fill(disk, 300_000);
    let refused = 'OK';
    for (let index = 0; refused === 'OK' && index < 10; index += 1) {
      refused = await write(`large${index}`, Buffer.alloc(100_000, index));
    }
    expect(refused).toBe('DISK_FULL');
    // small ones may fit where a large one did not, but what is behind a torn record would be lost
    expect(await write('small', Buffer.from('2'))).toBe('DISK_FULL');
    expect(String(await store.get('t', bytes('before')))).toBe('1');
    expect((await scan(store, 't')).length).toBeGreaterThanOrEqual(acknowledged.size);
    rmSync(filler);
    let outcome = '';
    await until('the storage is written to again', () => {
      void write('after', Buffer.from('3')).then((now) => {
        outcome = now;
      });
      return outcome === 'OK';
    });
    await write('after all', Buffer.from('4'));
    for (const round of ['now', 'opened again']) {
      const found = new Map(await scan(store, 't'));
      for (const [key, value] of acknowledged) expect(found.get(key) === value, `${key} ${round}`).toBe(true);
      await store.close();
      store = await open(room);
    }
    await store.close();
  });

  it('C160: a storage that cannot be opened for want of room is whole afterwards, and nothing is set aside', async () => {
    const disk = smallDisk(16);
    const room = join(disk, 'storage');
    const store = await open(room);
    await store.openTree('t');
    for (let index = 0; index < 8; index += 1) await put(store, 't', `k${index}`, Buffer.alloc(MIB / 4, index));
    await store.close();
    const filler = fill(disk, 0);
    expect(await reasonOf(open(room))).toBe('DISK_FULL');
    expect(await reasonOf(open(room, { name: 'other' }))).toBe('DISK_FULL');
    rmSync(filler);
    expect(await scan(await open(room), 't')).toHaveLength(8);
    expect(await reasonOf(open(room, { name: 'other' }))).toBe('OK');
  });
});
