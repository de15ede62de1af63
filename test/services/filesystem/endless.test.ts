import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ReadFileResponse } from '../../../gen/ts/modhost/v1/filesystem.js';
import { HostError } from '../../../src/contract/error.js';
import { canMount } from './mount.js';
import { call, createFilesRig, type FilesRig, reasonOf } from './rig.js';

let rig: FilesRig;
beforeEach(async () => {
  rig = await createFilesRig();
});
afterEach(() => rig.dispose());

const TIB = 2n ** 40n;

describe('files without an end', () => {
  it('C121: one of holes, 1 TiB long, is read as far as its reader goes, and no further', async () => {
    writeFileSync(join(rig.root, 'holes'), 'begin');
    truncateSync(join(rig.root, 'holes'), Number(TIB));
    expect(String(await rig.read('holes', 0n, 5n))).toBe('begin');
    expect(await rig.read('holes', TIB - 3n)).toEqual(Buffer.alloc(3));
    expect(await reasonOf(rig.read('holes', TIB + 1n))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(rig.read('holes', 2n ** 64n - 1n))).toBe('OUT_OF_RANGE');
    const stop = new AbortController();
    let bytes = 0;
    const pieces = rig.service.readFile({ path: 'holes', offset: 0n, length: 0n }, call(stop.signal));
    const reading = (async () => {
      for await (const { content } of pieces as AsyncIterable<ReadFileResponse>) {
        bytes += content.byteLength;
        if (bytes >= 4_000_000) stop.abort(new HostError('CANCELLED', 'enough'));
      }
    })();
    expect(await reasonOf(reading)).toBe('CANCELLED');
    expect(bytes).toBeLessThan(5_000_000);
  });

  it('C121: one that its owner makes grow is read to the length that it had', async () => {
    const path = join(rig.root, 'grows');
    const growing = spawn('sh', ['-c', 'while :; do head -c 65536 /dev/zero >>"$0"; done', path], { stdio: 'ignore' });
    try {
      await expect.poll(() => existsSync(path), { interval: 5 }).toBe(true);
      for (let i = 0; i < 20; i += 1) {
        let promised: bigint | undefined;
        let bytes = 0n;
        const pieces = rig.service.readFile({ path: 'grows', offset: 0n, length: 0n }, call());
        for await (const { metadata, content } of pieces as AsyncIterable<ReadFileResponse>) {
          promised ??= metadata?.sizeBytes;
          bytes += BigInt(content.byteLength);
        }
        expect(bytes).toBe(promised);
      }
    } finally {
      const over = new Promise((resolve) => growing.once('exit', resolve));
      growing.kill('SIGKILL');
      await over;
    }
  });

  it.skipIf(!canMount())('C121: another file system that is mounted inside is refused', async () => {
    const dir = join(rig.root, 'mounted');
    mkdirSync(dir);
    execFileSync('mount', ['-t', 'proc', 'proc', dir]);
    try {
      for (const path of ['mounted', 'mounted/uptime', 'mounted/self/environ', 'mounted/kmsg']) {
        expect([path, await reasonOf(rig.read(path))]).toEqual([path, 'PATH_ESCAPE']);
        expect([path, await reasonOf(rig.write(path, 'x'))]).toEqual([path, 'PATH_ESCAPE']);
      }
      const remove = (path: string) => rig.service.removeDirectory({ path, recursive: true }, call());
      expect(await reasonOf(Promise.resolve(remove('mounted')))).toBe('PATH_ESCAPE');
      expect(await rig.list()).toEqual([]);
    } finally {
      execFileSync('umount', [dir]);
    }
  });

  it('C121: a removal that never ends because its owner goes on making files ends with its call', async () => {
    const dir = join(rig.root, 'busy');
    mkdirSync(dir);
    // no `:` with the redirection: where that fails, because the directory has gone, a shell ends with it
    const script = 'i=0; while :; do i=$((i+1)); mkdir -p "$0/$i"; true >"$0/$i/f"; done';
    const making = spawn('sh', ['-c', script, dir], { stdio: 'ignore' });
    const over = new Promise((resolve) => making.once('exit', resolve));
    try {
      await expect.poll(() => existsSync(join(dir, '1')), { interval: 5 }).toBe(true);
      const stop = new AbortController();
      setTimeout(() => stop.abort(new HostError('DEADLINE_EXCEEDED', 'late')), 300);
      const removing = rig.service.removeDirectory({ path: 'busy', recursive: true }, call(stop.signal));
      expect(['DEADLINE_EXCEEDED', 'PRECONDITION_FAILED', 'OK']).toContain(await reasonOf(Promise.resolve(removing)));
    } finally {
      making.kill('SIGKILL');
      await over;
    }
    expect(
      await reasonOf(Promise.resolve(rig.service.removeDirectory({ path: 'busy', recursive: true }, call()))),
    ).toMatch(/^(OK|NOT_FOUND)$/);
  });
});
