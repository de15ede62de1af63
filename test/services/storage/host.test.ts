import {
  appendFileSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { ServiceError } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';

import { SessionServiceClient } from '../../../gen/ts/modhost/v1/session.js';
import {
  ScanRequest,
  type ScanResponse,
  type StorageOperation,
  StorageServiceClient,
} from '../../../gen/ts/modhost/v1/storage.js';
import type { Host } from '../../../src/host/host.js';
import { createExternalHost, type ExternalHost } from '../../host/external-host.js';
import { openExternal, VERSION, writeExternalModule } from '../../host/external-module.js';
import { atEnd, cleanUp, client, directory, hostIn } from '../../host/host-rig.js';
import { reason, STATES, until } from '../../host/spawned-host.js';
import { reasonOf, unary } from '../../ipc/rig.js';

afterEach(cleanUp);

const ALL = ['read_storage', 'write_storage', 'manage_storage'];
const MIB = 1024 * 1024;

async function hostOf(...modules: [name: string, capabilities: readonly string[]][]): Promise<ExternalHost> {
  const rig = await createExternalHost({ modules: modules.map(([name, capabilities]) => ({ name, capabilities })) });
  atEnd(() => rig.dispose());
  return rig;
}

/** Calls of a module on its storage. */
function storageAt(socketPath: string) {
  const stub = client(StorageServiceClient, socketPath);
  return {
    openTree: (name: string) => unary<{ created: boolean }>((done) => stub.openTree({ name }, done as never)),
    deleteTree: (name: string) => unary((done) => stub.deleteTree({ name }, done as never)),
    put: (tree: string, key: Uint8Array, value: Uint8Array) =>
      unary<{ commit: bigint }>((done) => stub.put({ tree, key, value }, done as never)),
    get: (tree: string, key: Uint8Array) =>
      unary<{ found: boolean; value: Uint8Array }>((done) => stub.get({ tree, key }, done as never)),
    contains: (tree: string, key: Uint8Array) =>
      unary<{ found: boolean }>((done) => stub.contains({ tree, key }, done as never)),
    remove: (tree: string, key: Uint8Array) => unary((done) => stub.delete({ tree, key }, done as never)),
    write: (operations: StorageOperation[]) =>
      unary<{ commit: bigint }>((done) => stub.write({ preconditions: [], operations }, done as never)),
    setQuota: (tree: string, quotaBytes: bigint) => unary((done) => stub.setQuota({ tree, quotaBytes }, done as never)),
    usage: () =>
      unary<{ usedBytes: bigint; quotaBytes: bigint; keys: bigint }>((done) => stub.getUsage({}, done as never)),
    trees: () => unary<{ names: string[] }>((done) => stub.listTrees({}, done as never)),
    async scan(request: Partial<ScanRequest>): Promise<[string, number][]> {
      const entries: [string, number][] = [];
      const stream = stub.scan({ ...ScanRequest.decode(new Uint8Array()), ...request });
      await new Promise<void>((resolve, reject) => {
        stream.on('data', (batch: ScanResponse) => {
          for (const { key, value } of batch.entries) entries.push([String(key), value.byteLength]);
        });
        stream.on('end', resolve);
        stream.on('error', (error: ServiceError) => reject(error));
      });
      return entries;
    },
  };
}

const b = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('StorageService', () => {
  it('C122: takes keys and values up to their bounds and says what is wrong beyond', async () => {
    const rig = await hostOf(['probe', ALL]);
    const storage = storageAt(await rig.open('probe'));
    expect(await storage.openTree('t')).toEqual({ created: true });
    expect(await storage.openTree('t')).toEqual({ created: false });
    const largest = Buffer.alloc(MIB, 1);
    await storage.put('t', Buffer.alloc(1_024, 0xff), largest);
    await storage.put('t', b('__proto__'), b(''));
    expect(largest.equals((await storage.get('t', Buffer.alloc(1_024, 0xff))).value)).toBe(true);
    expect(await storage.get('t', b('__proto__'))).toMatchObject({ found: true, value: { byteLength: 0 } });
    expect(await storage.contains('t', b('constructor'))).toEqual({ found: false });
    expect(await reasonOf(storage.put('t', b(''), b('')))).toBe('FIELD_REQUIRED');
    expect(await reasonOf(storage.get('', b('k')))).toBe('FIELD_REQUIRED');
    expect(await reasonOf(storage.put('t', Buffer.alloc(1_025), b('')))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(storage.put('t', b('k'), Buffer.alloc(MIB + 1)))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(storage.get('nowhere', b('k')))).toBe('NOT_FOUND');
    expect(await reasonOf(storage.scan({ tree: 'nowhere' }))).toBe('NOT_FOUND');
    expect(await reasonOf(storage.scan({ tree: 't', prefix: b('a'), start: b('b') }))).toBe('INVALID_REQUEST');
    expect(await reasonOf(storage.write([]))).toBe('FIELD_REQUIRED');
    expect(await reasonOf(storage.write([{ tree: 't', operation: undefined }]))).toBe('FIELD_REQUIRED');
    const range: StorageOperation = {
      tree: 't',
      operation: { $case: 'deleteRange', value: { start: b(''), end: b('') } },
    };
    expect(await reasonOf(storage.write(Array<StorageOperation>(17).fill(range)))).toBe('OUT_OF_RANGE');
    for (const name of ['', 'A', '1a', 'a-b', 'a/b', '..', `a${'b'.repeat(64)}`, '__proto__']) {
      expect(await reasonOf(storage.openTree(name)), name).toBe('INVALID_REQUEST');
    }
    expect(await reasonOf(storage.setQuota('t', 257n * 1024n * 1024n))).toBe('OUT_OF_RANGE');
    expect(await reasonOf(storage.setQuota('nowhere', 1n))).toBe('NOT_FOUND');
    expect(await storage.trees()).toEqual({ names: ['t'] });
  });

  it('hands a large range over in batches that any client accepts, and no faster than it is read', async () => {
    const rig = await hostOf(['probe', ALL]);
    const socket = await rig.open('probe');
    const storage = storageAt(socket);
    await storage.openTree('t');
    const value = Buffer.alloc(900_000, 7);
    for (let index = 0; index < 24; index += 1) await storage.put('t', b(`k${index}`), value);
    const before = process.memoryUsage().rss;
    const stream = client(StorageServiceClient, socket).scan(ScanRequest.create({ tree: 't' }));
    const sizes: number[] = [];
    stream.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MIB);
    for await (const batch of stream as AsyncIterable<ScanResponse>) {
      sizes.push(batch.entries.reduce((sum, entry) => sum + entry.value.byteLength, 0));
    }
    expect(sizes).toEqual(Array(24).fill(900_000));
    expect(await storage.scan({ tree: 't', keysOnly: true, reverse: true, limit: 2n })).toEqual([
      ['k9', 0],
      ['k8', 0],
    ]);
  });

  it('C097: each permission opens its own calls and no other', async () => {
    const rig = await hostOf(
      ['reader', ['read_storage']],
      ['writer', ['write_storage']],
      ['keeper', ['manage_storage']],
    );
    const reader = storageAt(await rig.open('reader'));
    const writer = storageAt(await rig.open('writer'));
    const keeper = storageAt(await rig.open('keeper'));
    await keeper.openTree('t');
    for (const work of [keeper.get('t', b('k')), keeper.put('t', b('k'), b('')), reader.put('t', b('k'), b(''))]) {
      expect(await reasonOf(work)).toBe('MISSING_PERMISSION');
    }
    for (const work of [writer.deleteTree('t'), writer.openTree('t'), writer.usage(), writer.get('t', b('k'))]) {
      expect(await reasonOf(work)).toBe('MISSING_PERMISSION');
    }
    // each has a storage of its own name, so what the keeper has opened is not there for the others
    expect(await reasonOf(reader.get('t', b('k')))).toBe('NOT_FOUND');
    expect(await reasonOf(writer.put('t', b('k'), b('')))).toBe('NOT_FOUND');
    expect(await keeper.trees()).toEqual({ names: ['t'] });
  });

  it("C126: no module reaches another's trees, whatever the two are called", async () => {
    const rig = await hostOf(['a', ALL], ['a-b', ALL], ['a-b-c', ALL]);
    const names = ['a', 'a-b', 'a-b-c'];
    const storages = await Promise.all(names.map(async (name) => storageAt(await rig.open(name))));
    for (const [index, storage] of storages.entries()) {
      await storage.openTree('shared');
      await storage.put('shared', b('who'), b(names[index] ?? ''));
      await storage.openTree(`own${index}`);
    }
    for (const [index, storage] of storages.entries()) {
      expect(String((await storage.get('shared', b('who'))).value)).toBe(names[index]);
      expect((await storage.trees()).names).toEqual([`own${index}`, 'shared']);
      for (const other of ['own0', 'own1', 'own2', '../a', 'a/shared', 'b']) {
        if (other === `own${index}`) continue;
        expect(await reasonOf(storage.get(other, b('who'))), other).toBe('NOT_FOUND');
      }
    }
    const room = join(rig.dir, 'd', 'storage');
    expect(readdirSync(room).sort()).toEqual(names);
    expect(statSync(room).mode & 0o777).toBe(0o700);
    expect(statSync(join(room, 'a')).mode & 0o777).toBe(0o700);
  });

  it('survives a reload, tells its size in the status, and has one handle whatever spawns replace each other', async () => {
    const rig = await hostOf(['probe', ALL]);
    const first = storageAt(await rig.open('probe'));
    await first.openTree('t');
    const { commit } = await first.put('t', b('k'), b('value'));
    for (let round = 0; round < 3; round += 1) {
      await rig.host.reload('probe');
      const again = storageAt(await rig.open('probe'));
      expect(String((await again.get('t', b('k'))).value)).toBe('value');
    }
    const last = storageAt(rig.socketPath('probe'));
    expect((await last.put('t', b('l'), b(''))).commit).toBeGreaterThan(commit);
    expect(rig.host.list()[0]).toMatchObject({ storageBytes: 7n, storageKeys: 2n });
    await rig.host.unload('probe');
    // nobody uses it: its files are closed
    await until('the storage to be closed', () => openStorageFiles(rig) === 0);
  });

  it('has the quota that the manifest asks for, and tells it in the handshake', async () => {
    const dir = directory();
    writeExternalModule(join(dir, 'm'), 'small', ALL);
    appendFileSync(join(dir, 'm', 'small', 'module.toml'), '[storage]\nquota_mb = 1\n');
    const host = hostIn(dir, { modules: { small: { run: 'external', unsigned: true } } });
    await host.start();
    await host.load('small');
    const socket = await openAt(dir, 'small');
    const context = await unary<{ context: { limits: { storageMb: number } } }>((done) =>
      client(SessionServiceClient, socket).getContext({}, done as never),
    );
    expect(context.context.limits.storageMb).toBe(1);
    const storage = storageAt(socket);
    await storage.openTree('t');
    await storage.put('t', b('k'), Buffer.alloc(MIB - 1));
    expect(await reasonOf(storage.put('t', b('l'), b('')))).toBe('QUOTA_EXCEEDED');
    expect(await storage.usage()).toMatchObject({ usedBytes: BigInt(MIB), quotaBytes: BigInt(MIB), keys: 1n });
  });
});

describe('a damaged storage', () => {
  it('C127: makes its module FAILED with DATA_CORRUPT, is set aside whole, and host and other modules run on', async () => {
    const rig = await hostOf(['broken', ALL], ['well', ALL]);
    for (const name of ['broken', 'well']) {
      const storage = storageAt(await rig.open(name));
      await storage.openTree('t');
      for (let index = 0; index < 20; index += 1) await storage.put('t', b(`k${index}`), Buffer.alloc(1_000, index));
    }
    await rig.host.unload('broken');
    const room = join(rig.dir, 'd', 'storage');
    await until('the storage to be closed', () => openStorageFiles(rig, 'broken') === 0);
    const log = readdirSync(join(room, 'broken', 'db')).find((name) => name.endsWith('.log')) ?? '';
    const path = join(room, 'broken', 'db', log);
    const whole = readFileSync(path);
    // the engine alone opens this without a word, some acknowledged writes short
    truncateSync(path, Math.floor(whole.byteLength / 2));
    expect(await reason(rig.host.load('broken'))).toBe('DATA_CORRUPT');
    expect(stateOf(rig.host, 'broken')).toBe('FAILED');
    const [aside = '', ...more] = readdirSync(room).filter((name) => name.startsWith('broken'));
    expect(aside).toMatch(/^broken\.corrupt-\d+$/);
    expect(more).toEqual([]);
    // a further start does not begin empty by itself
    expect(await reason(rig.host.load('broken'))).toBe('DATA_CORRUPT');
    expect(readdirSync(room).filter((name) => name.startsWith('broken'))).toEqual([aside]);
    const well = storageAt(rig.socketPath('well'));
    expect((await well.get('t', b('k1'))).found).toBe(true);
    // it can be had by the operator: moved away, it begins empty
    renameSync(join(room, aside), join(rig.dir, 'for-the-doctor'));
    await rig.host.load('broken');
    const anew = storageAt(await rig.open('broken'));
    expect(await anew.trees()).toEqual({ names: [] });
  });

  it('C127: a value that changes under a running host is not served, and the others are', async () => {
    const rig = await hostOf(['probe', ALL]);
    const storage = storageAt(await rig.open('probe'));
    await storage.openTree('t');
    // enough for tables on the disk
    for (let index = 0; index < 6; index += 1) await storage.put('t', b(`k${index}`), Buffer.alloc(MIB, 0x40 + index));
    await storage.put('t', b('small'), b('value'));
    const db = join(rig.dir, 'd', 'storage', 'probe', 'db');
    await until('tables', () => readdirSync(db).some((name) => name.endsWith('.ldb')));
    let changed = 0;
    for (const name of readdirSync(db).filter((file) => file.endsWith('.ldb'))) {
      const bytes = readFileSync(join(db, name));
      const at = bytes.indexOf(Buffer.alloc(1_000, 0x40));
      if (at === -1) continue;
      bytes[at + 500] = 0;
      // in place: the engine has the file mapped
      writeFileSync(join(db, name), bytes, { flag: 'r+' });
      changed += 1;
    }
    expect(changed).toBeGreaterThan(0);
    expect(await reasonOf(storage.get('t', b('k0')))).toBe('DATA_CORRUPT');
    expect(await reasonOf(storage.contains('t', b('k0')))).toBe('DATA_CORRUPT');
    expect(await reasonOf(storage.scan({ tree: 't' }))).toBe('DATA_CORRUPT');
    expect(await reasonOf(storage.put('t', b('k0'), b('')))).toBe('DATA_CORRUPT');
    expect(String((await storage.get('t', b('small'))).value)).toBe('value');
  });
});

/** Files of storages that this process has open. */
function openStorageFiles(rig: ExternalHost, name = ''): number {
  const room = join(rig.dir, 'd', 'storage', name);
  return readdirSync('/proc/self/fd').filter((fd) => linkOf(fd).startsWith(room)).length;
}

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '';
  }
}

function stateOf(host: Host, name: string): string {
  return STATES[host.list().find((module) => module.name === name)?.state ?? 0] ?? '';
}

async function openAt(dir: string, name: string): Promise<string> {
  const socket = join(dir, 's', `x-${name}`, 'host.sock');
  await openExternal(socket, readFileSync(join(dir, 's', `x-${name}`, 'token')), name, VERSION);
  return socket;
}
