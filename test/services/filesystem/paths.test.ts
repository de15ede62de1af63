import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, createFilesRig, type FilesRig, headerOf, piece, reasonOf, snapshot } from './rig.js';

const isRoot = process.getuid?.() === 0;
let rig: FilesRig;
let before: string[];
const servers: Server[] = [];

beforeAll(async () => {
  rig = await createFilesRig();
  const { root, outside } = rig;
  mkdirSync(join(outside, 'dir'), { recursive: true });
  writeFileSync(join(outside, 'secret'), 'secret');
  writeFileSync(join(outside, 'dir', 'secret'), 'secret');
  // made now, so that the link below does not change what is compared
  linkSync(join(outside, 'secret'), join(root, 'hardlink'));
  symlinkSync(join(outside, 'secret'), join(root, 'link'));
  symlinkSync(join(outside, 'dir'), join(root, 'linkdir'));
  symlinkSync(join(outside, 'nothing'), join(root, 'dangling'));
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync('own', join(root, 'inward'));
  symlinkSync('..', join(root, 'up'));
  symlinkSync('/proc/self/root', join(root, 'magic'));
  writeFileSync(join(root, 'own'), 'own');
  mkdirSync(join(root, 'dir'));
  symlinkSync(join(outside, 'dir'), join(root, 'dir', 'linkdir'));
  execFileSync('mkfifo', [join(root, 'fifo')]);
  const server = createServer().listen(join(root, 'socket'));
  await new Promise((resolve) => server.once('listening', resolve));
  servers.push(server);
  if (isRoot) {
    execFileSync('mknod', [join(root, 'zero'), 'c', '1', '5']);
    execFileSync('mknod', [join(root, 'console'), 'c', '5', '1']);
    execFileSync('mknod', [join(root, 'disk'), 'b', '7', '0']);
  }
  before = snapshot(outside);
});
afterAll(async () => {
  for (const server of servers) server.close();
  await rig.dispose();
});

/** Every rpc with a path. */
const RPCS: readonly [name: string, ask: (path: string) => Promise<unknown>][] = [
  ['ReadFile', (path) => rig.read(path)],
  ['ListDirectory', (path) => Promise.resolve(rig.service.listDirectory({ path, pageSize: 0, pageToken: '' }, call()))],
  ['GetMetadata', (path) => Promise.resolve(rig.service.getMetadata({ path }, call()))],
  ['WriteFile', (path) => rig.write(path, 'written')],
  ['WriteFile, new', (path) => rig.write(path, 'written', { createOnly: true })],
  ['DeleteFile', (path) => Promise.resolve(rig.service.deleteFile({ path }, call()))],
  ['CreateDirectory', (path) => Promise.resolve(rig.service.createDirectory({ path, parents: false }, call()))],
  ['CreateDirectory, parents', (path) => Promise.resolve(rig.service.createDirectory({ path, parents: true }, call()))],
  ['RemoveDirectory', (path) => Promise.resolve(rig.service.removeDirectory({ path, recursive: false }, call()))],
  ['RemoveDirectory, all', (path) => Promise.resolve(rig.service.removeDirectory({ path, recursive: true }, call()))],
  ['SetQuota', (path) => Promise.resolve(rig.service.setQuota({ path, quotaBytes: 4_096n }, call()))],
];

/** Paths that break a rule, whatever stands there. */
const BROKEN: readonly string[] = [
  ...['../x', '..', '.', './own', 'dir/..', 'dir/../own', 'dir/.', 'a/./../../b', '../../../../../../etc/passwd'],
  ...[
    '/etc/passwd',
    '/',
    '//',
    '/own',
    'dir//own',
    'own/',
    'dir/',
    'nul\0',
    '\0',
    'own\0.txt',
    'dir\\own',
    '..\\x',
    '\\',
  ],
  ...['x'.repeat(256), 'ä'.repeat(128), `${'x/'.repeat(600)}x`, 'x'.repeat(5_000), `${'d/'.repeat(64)}f`, 'bad\ud800'],
  ...['.modhost-staging', '.modhost-staging/x'],
];

/** Paths that pass or end at what is neither a file nor a directory of the module's. */
const FOREIGN: readonly string[] = [
  ...['link', 'linkdir', 'linkdir/secret', 'linkdir/new', 'dir/linkdir/secret', 'dir/linkdir/new', 'dangling', 'loop'],
  ...['loop/x', 'inward', 'up', 'up/outside/secret', 'magic', 'magic/etc/passwd', 'hardlink', 'fifo', 'fifo/x'],
  ...['socket', 'socket/x', ...(isRoot ? ['zero', 'console', 'disk', 'zero/x'] : [])],
];

describe('paths', () => {
  for (const [name, ask] of RPCS) {
    it(`C119: ${name} refuses every path that breaks a rule`, async () => {
      for (const path of BROKEN) expect([path, await reasonOf(ask(path))]).toEqual([path, 'PATH_ESCAPE']);
    });

    it(`C120, C121: ${name} refuses links, hard links, pipes, sockets and devices, and waits for none`, async () => {
      for (const path of FOREIGN) {
        // one that has more than a part is no top-level directory in any case
        const wanted = name === 'SetQuota' && path.includes('/') ? 'INVALID_REQUEST' : 'PATH_ESCAPE';
        expect([path, await reasonOf(ask(path))]).toEqual([path, wanted]);
      }
    });
  }

  it('C119: names that look like an escape and are none are ordinary', async () => {
    for (const name of [
      '%2e%2e',
      '%2e%2e%2fx',
      '...',
      '..x',
      'x..',
      '~',
      '-rf',
      '*',
      ' ',
      '\n',
      '__proto__',
      'é'.repeat(127),
    ]) {
      expect([name, await reasonOf(rig.write(name, name))]).toEqual([name, 'OK']);
      expect(String(await rig.read(name))).toBe(name);
      expect(await reasonOf(Promise.resolve(rig.service.deleteFile({ path: name }, call())))).toBe('OK');
    }
    const deep = Array.from({ length: 63 }, () => 'd').join('/');
    expect(await reasonOf(Promise.resolve(rig.service.createDirectory({ path: deep, parents: true }, call())))).toBe(
      'OK',
    );
    expect(await reasonOf(rig.write(`${deep}/f`, 'x'))).toBe('OK');
  });

  it('C119: the empty path is the data directory where an rpc takes one', async () => {
    const reasons = await Promise.all(RPCS.map(async ([name, ask]) => [name, await reasonOf(ask(''))]));
    expect(Object.fromEntries(reasons)).toEqual({
      ReadFile: 'INVALID_REQUEST',
      ListDirectory: 'OK',
      GetMetadata: 'OK',
      WriteFile: 'FIELD_REQUIRED',
      'WriteFile, new': 'FIELD_REQUIRED',
      DeleteFile: 'INVALID_REQUEST',
      CreateDirectory: 'INVALID_REQUEST',
      'CreateDirectory, parents': 'INVALID_REQUEST',
      RemoveDirectory: 'INVALID_REQUEST',
      'RemoveDirectory, all': 'INVALID_REQUEST',
      SetQuota: 'INVALID_REQUEST',
    });
  });

  it('C121: what is neither file nor directory of its own is in no listing', async () => {
    expect(await rig.list()).toEqual(['d', 'dir', 'own']);
    expect(await rig.list('dir')).toEqual([]);
  });

  it('C119, C120, C121: nothing outside has changed', () => {
    expect(snapshot(rig.outside)).toEqual(before);
  });
});

describe('C120: a data directory that is itself a link', () => {
  it('is not followed', async () => {
    const other = await createFilesRig();
    try {
      rmdirSync(other.root);
      mkdirSync(other.outside);
      symlinkSync(other.outside, other.root);
      expect(await reasonOf(other.write('f', 'x'))).toBe('PATH_ESCAPE');
      expect(await reasonOf(other.list())).toBe('PATH_ESCAPE');
      expect(snapshot(other.outside)).toEqual([]);
    } finally {
      await other.dispose();
    }
  });
});

describe('a link put in place while a write is under way', () => {
  it('C120: is replaced itself, and what it leads to stays', async () => {
    const target = join(rig.outside, 'secret');
    async function* sent() {
      yield headerOf('late');
      yield piece(Buffer.from('written'));
      symlinkSync(target, join(rig.root, 'late'));
    }
    expect(await reasonOf(Promise.resolve(rig.service.writeFile(sent(), call())))).toBe('PATH_ESCAPE');
    expect(snapshot(rig.outside)).toEqual(before);
    expect(rig.staged()).toEqual([]);
  });
});
