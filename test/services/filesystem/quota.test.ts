import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FilesystemServiceGetUsageResponse } from '../../../gen/ts/modhost/v1/filesystem.js';
import { canMount, mountMemory } from './mount.js';
import { call, createFilesRig, type FilesRig, headerOf, MIB, piece, reasonOf } from './rig.js';

const TOTAL = 4 * MIB;
const BLOCK = 4_096;
let dir: string;
let rig: FilesRig;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mhq-'));
  rig = await createFilesRig({ dir, totalBytes: TOTAL });
});
afterEach(async () => {
  await rig.dispose();
  rmSync(dir, { recursive: true, force: true });
});

const usage = async () => (await rig.service.getUsage({}, call())) as FilesystemServiceGetUsageResponse;
/** What is on the disk by somebody else's word. */
const onDisk = (path: string): bigint =>
  BigInt(execFileSync('du', ['-s', '-B1', path], { encoding: 'utf8' }).split('\t')[0] ?? '');
const make = (path: string) => reasonOf(Promise.resolve(rig.service.createDirectory({ path, parents: true }, call())));
const setQuota = (path: string, quotaBytes: bigint) =>
  reasonOf(Promise.resolve(rig.service.setQuota({ path, quotaBytes }, call())));
const restart = async () => {
  await rig.dispose();
  rig = await createFilesRig({ dir, totalBytes: TOTAL });
};

describe('the total', () => {
  it('is reached exactly, and one byte more is refused', async () => {
    expect(await usage()).toEqual({ usedBytes: 0n, quotaBytes: BigInt(TOTAL), directories: [] });
    expect(await reasonOf(rig.write('f', Buffer.alloc(TOTAL)))).toBe('OK');
    expect((await usage()).usedBytes).toBe(BigInt(TOTAL));
    expect(await reasonOf(rig.write('g', 'x'))).toBe('QUOTA_EXCEEDED');
    expect(await reasonOf(rig.write('g', ''))).toBe('OK');
    expect(await make('d')).toBe('QUOTA_EXCEEDED');
    await restart();
    expect((await usage()).usedBytes).toBe(BigInt(TOTAL));
    expect(await reasonOf(rig.write('h', 'x'))).toBe('QUOTA_EXCEEDED');
    await rig.service.deleteFile({ path: 'f' }, call());
    expect(await reasonOf(rig.write('f', Buffer.alloc(TOTAL + 1)))).toBe('QUOTA_EXCEEDED');
    expect(await reasonOf(rig.write('f', Buffer.alloc(TOTAL)))).toBe('OK');
    expect(rig.staged()).toEqual([]);
  });

  it('is checked before a byte is written where the length is promised, and during the write where it is not', async () => {
    let asked = 0;
    async function* sent(sizeBytes: bigint) {
      yield headerOf('f', { sizeBytes });
      for (let i = 0; i < 10; i += 1) {
        asked += 1;
        yield piece(Buffer.alloc(MIB));
      }
    }
    const write = (sizeBytes: bigint) => reasonOf(Promise.resolve(rig.service.writeFile(sent(sizeBytes), call())));
    expect(await write(BigInt(10 * MIB))).toBe('QUOTA_EXCEEDED');
    expect(asked).toBe(0);
    expect(await write(0n)).toBe('QUOTA_EXCEEDED');
    expect(asked).toBe(5);
    expect(rig.staged()).toEqual([]);
    expect((await usage()).usedBytes).toBe(0n);
  });

  it('holds over writes in flight at once', async () => {
    const each = Array.from({ length: 8 }, (_, i) => reasonOf(rig.write(`f${i}`, Buffer.alloc(MIB))));
    const outcomes = (await Promise.all(each)).sort();
    expect(outcomes).toEqual([...Array(4).fill('OK'), ...Array(4).fill('QUOTA_EXCEEDED')]);
    expect((await usage()).usedBytes).toBe(BigInt(TOTAL));
  });

  it('counts what the module wrote itself, and the old file until the new one stands', async () => {
    writeFileSync(join(rig.root, 'own'), Buffer.alloc(2 * MIB));
    expect(await reasonOf(rig.write('f', Buffer.alloc(2 * MIB + 1)))).toBe('QUOTA_EXCEEDED');
    expect(await reasonOf(rig.write('f', Buffer.alloc(2 * MIB)))).toBe('OK');
    expect(await reasonOf(rig.write('f', 'x'))).toBe('QUOTA_EXCEEDED');
    rmSync(join(rig.root, 'own'));
    // measured anew: a refusal has just measured, and the next does not do it again at once
    expect((await usage()).usedBytes).toBe(BigInt(2 * MIB));
    expect(await reasonOf(rig.write('f', Buffer.alloc(2 * MIB)))).toBe('OK');
    expect((await usage()).usedBytes).toBe(BigInt(2 * MIB));
  });

  it('agrees with what du says of a tree', async () => {
    await make('a/b/c');
    for (let i = 0; i < 20; i += 1) await rig.write(`a/b/c/f${i}`, Buffer.alloc(i * 1_000));
    for (let i = 0; i < 10; i += 1) await rig.write(`a/b/c/f${i}`, 'replaced');
    const root = onDisk(rig.root) - onDisk(join(rig.root, 'a'));
    expect((await usage()).usedBytes).toBe(onDisk(rig.root) - root);
    await rig.service.removeDirectory({ path: 'a', recursive: true }, call());
    expect((await usage()).usedBytes).toBe(0n);
  });
});

describe('the quota of a top-level directory', () => {
  it('bounds writes below it, survives a restart, and goes with the directory', async () => {
    await make('d/deep');
    const empty = (await usage()).usedBytes;
    expect(await setQuota('d', 20_480n)).toBe('OK');
    expect(await reasonOf(rig.write('d/deep/f', Buffer.alloc(5 * BLOCK)))).toBe('QUOTA_EXCEEDED');
    expect(await reasonOf(rig.write('f', Buffer.alloc(5 * BLOCK)))).toBe('OK');
    expect(await reasonOf(rig.write('d/deep/f', Buffer.alloc(4 * BLOCK - 1)))).toBe('OK');
    await restart();
    expect((await usage()).directories).toEqual([{ path: 'd', usedBytes: 20_480n, quotaBytes: 20_480n }]);
    expect(await reasonOf(rig.write('d/g', 'x'))).toBe('QUOTA_EXCEEDED');
    expect(await make('d/other')).toBe('QUOTA_EXCEEDED');
    expect(await setQuota('d', 0n)).toBe('OK');
    expect(await reasonOf(rig.write('d/g', 'x'))).toBe('OK');
    expect((await usage()).usedBytes).toBe(empty + BigInt(5 * BLOCK + 4 * BLOCK + BLOCK));
    await setQuota('d', 1n);
    await rig.service.removeDirectory({ path: 'd', recursive: true }, call());
    await make('d');
    expect(await reasonOf(rig.write('d/f', Buffer.alloc(MIB)))).toBe('OK');
  });

  it('is refused where it cannot be', async () => {
    await make('d/deep');
    await rig.write('f', '');
    expect(await setQuota('none', 1n)).toBe('NOT_FOUND');
    expect(await setQuota('f', 1n)).toBe('INVALID_REQUEST');
    expect(await setQuota('d/deep', 1n)).toBe('INVALID_REQUEST');
    expect(await setQuota('d', BigInt(TOTAL) + 1n)).toBe('OUT_OF_RANGE');
    expect(await setQuota('d', BigInt(TOTAL))).toBe('OK');
    expect(await setQuota('d', 2n ** 64n - 1n)).toBe('OUT_OF_RANGE');
  });

  it('of which there are too many are refused, and names are only names', async () => {
    mkdirSync(join(rig.root, '__proto__'));
    expect(await setQuota('__proto__', 5n)).toBe('OK');
    for (let i = 0; i < 64; i += 1) mkdirSync(join(rig.root, `d${i}`));
    for (let i = 0; i < 63; i += 1) expect(await setQuota(`d${i}`, 5n)).toBe('OK');
    expect(await setQuota('d63', 5n)).toBe('QUOTA_EXCEEDED');
    await restart();
    expect((await usage()).directories).toHaveLength(64);
    expect((await usage()).directories[0]?.path).toBe('__proto__');
  });

  it('that cannot be read keeps the module from running', async () => {
    writeFileSync(join(rig.keepDir, 'quotas.json'), '{"d": -1}');
    expect(await reasonOf(createFilesRig({ dir }))).toBe('DATA_CORRUPT');
    writeFileSync(join(rig.keepDir, 'quotas.json'), '{');
    expect(await reasonOf(createFilesRig({ dir }))).toBe('DATA_CORRUPT');
    rmSync(join(rig.keepDir, 'quotas.json'));
  });
});

describe.skipIf(!canMount())('C160: a full disk', () => {
  it('is told as such, leaves nothing, reads go on, and it is over when there is room', async () => {
    const small = mkdtempSync(join(tmpdir(), 'mhd-'));
    mountMemory(small, `${2 * MIB}`);
    try {
      const full = await createFilesRig({ dir: small });
      await full.write('old', 'old content');
      expect(await reasonOf(full.write('big', Buffer.alloc(3 * MIB)))).toBe('DISK_FULL');
      expect(await reasonOf(full.write('old', Buffer.alloc(3 * MIB)))).toBe('DISK_FULL');
      expect(full.staged()).toEqual([]);
      expect(readdirSync(full.root)).toEqual(['old']);
      expect(String(await full.read('old'))).toBe('old content');
      const { usedBytes } = (await full.service.getUsage({}, call())) as FilesystemServiceGetUsageResponse;
      expect(usedBytes).toBe(BigInt(BLOCK));
      const filler = join(small, 'filler');
      try {
        writeFileSync(filler, Buffer.alloc(3 * MIB));
      } catch {
        // as full as it can be
      }
      expect(await reasonOf(full.write('old', 'x'))).toBe('DISK_FULL');
      expect(String(await full.read('old'))).toBe('old content');
      rmSync(filler);
      expect(await reasonOf(full.write('old', 'x'))).toBe('OK');
      await full.dispose();
    } finally {
      execFileSync('umount', [small]);
      rmSync(small, { recursive: true });
    }
  });

  it('of the data directory alone: writes lie beside the files then, out of every path, and are swept', async () => {
    const volume = join(dir, 'modules', 'probe');
    mountMemory(volume, `${2 * MIB}`);
    try {
      await restart();
      const staging = join(volume, '.modhost-staging');
      writeFileSync(join(staging, 'left'), 'by a killed host');
      await restart();
      expect(readdirSync(staging)).toEqual([]);
      expect(await reasonOf(rig.write('f', 'x'))).toBe('OK');
      expect(await reasonOf(rig.write('f', Buffer.alloc(3 * MIB)))).toBe('DISK_FULL');
      expect(await rig.list()).toEqual(['f']);
      expect(readFileSync(join(volume, 'f'), 'utf8')).toBe('x');
      expect([...rig.staged(), ...readdirSync(staging)]).toEqual([]);
      rmSync(staging, { recursive: true });
      mkdirSync(join(dir, 'elsewhere'));
      execFileSync('ln', ['-s', join(dir, 'elsewhere'), staging]);
      expect(await reasonOf(rig.write('f', 'y'))).toBe('PATH_ESCAPE');
      expect(readdirSync(join(dir, 'elsewhere'))).toEqual([]);
      expect(existsSync(join(volume, 'f'))).toBe(true);
    } finally {
      execFileSync('umount', [volume]);
    }
  });
});
