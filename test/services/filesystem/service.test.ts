import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileKind, type ReadFileResponse } from '../../../gen/ts/modhost/v1/filesystem.js';
import { HostError } from '../../../src/contract/error.js';
import { MAX_STREAMS_AT_ONCE } from '../../../src/services/filesystem/turns.js';
import { call, createFilesRig, type FilesRig, headerOf, messages, piece, reasonOf } from './rig.js';

const isRoot = process.getuid?.() === 0;
let rig: FilesRig;
beforeEach(async () => {
  rig = await createFilesRig();
});
afterEach(() => rig.dispose());

describe('files', () => {
  it('are written, read in parts, described and removed', async () => {
    const metadata = await rig.write('a.txt', 'hello world');
    expect(metadata).toMatchObject({ path: 'a.txt', kind: FileKind.FILE, sizeBytes: 11n });
    expect(Number(metadata?.modifiedUnixMs)).toBeGreaterThan(Date.now() - 60_000);
    expect(statSync(join(rig.root, 'a.txt')).mode & 0o777).toBe(0o600);
    expect(String(await rig.read('a.txt'))).toBe('hello world');
    expect(String(await rig.read('a.txt', 6n))).toBe('world');
    expect(String(await rig.read('a.txt', 6n, 2n))).toBe('wo');
    expect(String(await rig.read('a.txt', 11n))).toBe('');
    expect(await reasonOf(rig.read('a.txt', 12n))).toBe('OUT_OF_RANGE');
    expect(await rig.service.getMetadata({ path: 'a.txt' }, call())).toMatchObject({ metadata: { sizeBytes: 11n } });
    expect(await reasonOf(rig.service.deleteFile({ path: 'a.txt' }, call()))).toBe('OK');
    expect(await reasonOf(rig.service.deleteFile({ path: 'a.txt' }, call()))).toBe('NOT_FOUND');
    expect(await reasonOf(rig.read('a.txt'))).toBe('NOT_FOUND');
  });

  it('are replaced in one step: a reader keeps what it opened', async () => {
    const old = Buffer.alloc(600_000, 1);
    await rig.write('f', old);
    const pieces = rig.service.readFile({ path: 'f', offset: 0n, length: 0n }, call());
    const parts: Uint8Array[] = [];
    for await (const { content } of pieces as AsyncIterable<ReadFileResponse>) {
      if (parts.length === 0) await rig.write('f', 'new');
      parts.push(content);
    }
    expect(Buffer.concat(parts).equals(old)).toBe(true);
    expect(Math.max(...parts.map(({ length }) => length))).toBe(262_144);
    expect(String(await rig.read('f'))).toBe('new');
  });

  it('are not replaced with create_only, whoever is first', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, i) => reasonOf(rig.write('f', `content ${i}`, { createOnly: true }))),
    );
    expect(outcomes.sort()).toEqual([...Array.from({ length: 7 }, () => 'ALREADY_EXISTS'), 'OK']);
    expect(statSync(join(rig.root, 'f')).nlink).toBe(1);
    expect(rig.staged()).toEqual([]);
  });

  it('keep to what the header promises', async () => {
    const attempt = (content: string, sizeBytes: bigint) => reasonOf(rig.write('f', content, { sizeBytes }));
    expect(await attempt('12345', 4n)).toBe('INVALID_REQUEST');
    expect(await attempt('12345', 6n)).toBe('INVALID_REQUEST');
    expect(existsSync(join(rig.root, 'f'))).toBe(false);
    expect(await attempt('12345', 5n)).toBe('OK');
    expect(rig.staged()).toEqual([]);
  });

  it.each([
    ['no message', [], 'FIELD_REQUIRED'],
    ['no header', [piece(Buffer.from('x'))], 'FIELD_REQUIRED'],
    ['an empty message', [{ part: undefined }], 'FIELD_REQUIRED'],
    ['no path', [headerOf('')], 'FIELD_REQUIRED'],
    ['two headers', [headerOf('f'), headerOf('f')], 'INVALID_REQUEST'],
    ['an empty second message', [headerOf('f'), { part: undefined }], 'FIELD_REQUIRED'],
    ['a directory as its path', [headerOf('dir')], 'INVALID_REQUEST'],
    ['a missing directory', [headerOf('none/f')], 'NOT_FOUND'],
    ['a file in place of a directory', [headerOf('file/f')], 'NOT_FOUND'],
    ['more than anybody may have', [headerOf('f', { sizeBytes: 2n ** 64n - 1n })], 'QUOTA_EXCEEDED'],
  ])('refuse a write with %s', async (_what, list, reason) => {
    mkdirSync(join(rig.root, 'dir'));
    writeFileSync(join(rig.root, 'file'), '');
    async function* sent() {
      yield* list;
    }
    expect(await reasonOf(rig.service.writeFile(sent(), call()))).toBe(reason);
    expect(rig.staged()).toEqual([]);
    expect(readdirSync(rig.root).sort()).toEqual(['dir', 'file']);
  });

  it('leave nothing when a write breaks off', async () => {
    await rig.write('f', 'old');
    const broken = new AbortController();
    async function* sent() {
      yield headerOf('f');
      yield piece(Buffer.alloc(100_000));
      expect(rig.staged()).toHaveLength(1);
      broken.abort(new HostError('CANCELLED', 'the caller is gone'));
      yield piece(Buffer.alloc(100_000));
    }
    expect(await reasonOf(rig.service.writeFile(sent(), call(broken.signal)))).toBe('CANCELLED');
    expect(rig.staged()).toEqual([]);
    expect(String(await rig.read('f'))).toBe('old');
  });

  it('are refused when they are cut while they are read', async () => {
    await rig.write('f', Buffer.alloc(600_000));
    const reading = rig.service.readFile({ path: 'f', offset: 0n, length: 0n }, call())[Symbol.asyncIterator]();
    await reading.next();
    truncateSync(join(rig.root, 'f'), 10);
    expect(await reasonOf(Promise.resolve(reading.next()))).toBe('PRECONDITION_FAILED');
  });

  it('are open in a bounded number', async () => {
    await rig.write('f', Buffer.alloc(600_000));
    const open = () => rig.service.readFile({ path: 'f', offset: 0n, length: 0n }, call())[Symbol.asyncIterator]();
    const readers = Array.from({ length: MAX_STREAMS_AT_ONCE }, open);
    await Promise.all(readers.map((reader) => reader.next()));
    expect(await reasonOf(Promise.resolve(open().next()))).toBe('TOO_MANY_CALLS');
    expect(await reasonOf(rig.write('g', ''))).toBe('TOO_MANY_CALLS');
    await readers[0]?.return?.();
    expect(await reasonOf(rig.write('g', ''))).toBe('OK');
    await Promise.all(readers.map((reader) => reader.return?.()));
  });

  it.skipIf(!isRoot)('belong to the user of the module', async () => {
    chownSync(rig.root, 4_243, 4_243);
    await rig.write('f', 'x');
    await rig.write('g', 'x', { createOnly: true });
    await rig.service.createDirectory({ path: 'a/b', parents: true }, call());
    for (const name of ['f', 'g', 'a', 'a/b']) {
      expect(statSync(join(rig.root, name))).toMatchObject({ uid: 4_243, gid: 4_243 });
    }
  });
});

describe('directories', () => {
  const make = (path: string, parents = false) => reasonOf(rig.service.createDirectory({ path, parents }, call()));
  const remove = (path: string, recursive = false) =>
    reasonOf(rig.service.removeDirectory({ path, recursive }, call()));

  it('are made and removed', async () => {
    expect(await make('a/b')).toBe('NOT_FOUND');
    expect(await make('a/b', true)).toBe('OK');
    expect(await make('a/b', true)).toBe('OK');
    expect(await make('a/b')).toBe('ALREADY_EXISTS');
    await rig.write('a/b/f', 'x');
    expect(await make('a/b/f', true)).toBe('ALREADY_EXISTS');
    expect(await make('a/b/f/g', true)).toBe('NOT_FOUND');
    expect(await remove('a/b')).toBe('PRECONDITION_FAILED');
    expect(await remove('a/b/f')).toBe('INVALID_REQUEST');
    expect(await remove('')).toBe('INVALID_REQUEST');
    expect(await make('')).toBe('INVALID_REQUEST');
    expect(await remove('none')).toBe('NOT_FOUND');
    expect(await remove('a', true)).toBe('OK');
    expect(await rig.list()).toEqual([]);
  });

  it('are removed with whatever the module has put there, however deep, and links are not followed', async () => {
    mkdirSync(rig.outside);
    writeFileSync(join(rig.outside, 'secret'), 'secret');
    let deep = join(rig.root, 'a');
    for (let i = 0; i < 150; i += 1) deep = join(deep, `${i}`.padStart(8, 'd'));
    mkdirSync(deep, { recursive: true });
    symlinkSync(rig.outside, join(deep, 'link'));
    symlinkSync(join(rig.outside, 'secret'), join(rig.root, 'a', 'link'));
    for (let i = 0; i < 500; i += 1) writeFileSync(join(deep, `f${i}`), '');
    expect(await remove('a', true)).toBe('OK');
    expect(readdirSync(rig.root)).toEqual([]);
    expect(readdirSync(rig.outside)).toEqual(['secret']);
  });

  it('are listed by name in pages, byte by byte, without what no path can name', async () => {
    const names = ['a', 'B', 'ä', '😀', 'z'.repeat(255), ' ', '%2e%2e', '...', 'a b', '-', '__proto__'];
    for (const name of names) await rig.write(name, name);
    mkdirSync(join(rig.root, 'dir'));
    symlinkSync('/etc', join(rig.root, 'link'));
    writeFileSync(join(rig.root, 'back\\slash'), '');
    writeFileSync(Buffer.concat([Buffer.from(`${rig.root}/`), Buffer.from([0xff, 0xfe])]), '');
    const ordered = [...names, 'dir'].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(await rig.list()).toEqual(ordered);
    const paged: string[] = [];
    let pageToken = '';
    do {
      const page = await rig.service.listDirectory({ path: '', pageSize: 5, pageToken }, call());
      if (!('entries' in page)) throw new Error('encoded');
      paged.push(...page.entries.map(({ path }) => path));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(paged).toEqual(ordered);
  });

  it('refuse a page or a token that cannot be', async () => {
    await rig.write('file', '');
    const list = (path: string, pageSize: number, pageToken: string) =>
      reasonOf(rig.service.listDirectory({ path, pageSize, pageToken }, call()));
    expect(await list('', 1_001, '')).toBe('OUT_OF_RANGE');
    expect(await list('', 0, '!')).toBe('INVALID_REQUEST');
    expect(await list('', 0, Buffer.from('a/b').toString('base64url'))).toBe('INVALID_REQUEST');
    expect(await list('file', 0, '')).toBe('INVALID_REQUEST');
    expect(await list('none', 0, '')).toBe('NOT_FOUND');
    expect(await list('none/none', 0, '')).toBe('NOT_FOUND');
  });

  it('of 20,000 entries are listed to the end, and the loop turns meanwhile', async () => {
    const dir = join(rig.root, 'many');
    mkdirSync(dir);
    for (let i = 0; i < 20_000; i += 1) writeFileSync(join(dir, `f${i}`), '');
    let turns = 0;
    const ticking = setInterval(() => {
      turns += 1;
    }, 1);
    const names = await rig.list('many');
    clearInterval(ticking);
    expect(names).toHaveLength(20_000);
    expect(new Set(names).size).toBe(20_000);
    expect(turns).toBeGreaterThan(20);
    expect(await remove('many', true)).toBe('OK');
  });
});

afterAll(() => {
  // a descriptor that stays open would show here
  const open = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [statSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  expect(open.filter((stats) => stats.isDirectory()).length).toBeLessThan(3);
});

it('turns are given back when a call is cancelled while it waits', async () => {
  const stop = new AbortController();
  stop.abort(new HostError('CANCELLED', 'gone'));
  expect(await reasonOf(rig.service.getMetadata({ path: '' }, call(stop.signal)))).toBe('CANCELLED');
  await rig.service.writeFile(messages('f', 'x'), call());
  const many = Array.from({ length: 50 }, () => rig.service.getMetadata({ path: 'f' }, call()));
  expect(await reasonOf(Promise.all(many))).toBe('OK');
});
