import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, createSystemClock } from '../../../src/core/clock.js';
import { createSilentLogger } from '../../../src/core/logger.js';
import type { Step } from '../../../src/services/storage/apply.js';
import type { ScanRange, StoreParts } from '../../../src/services/storage/store.js';
import { openStore, type Store } from '../../../src/services/storage/store.js';
import { createTurns } from '../../../src/services/storage/turns.js';

export const MIB = 1024 * 1024;
/** A directory in memory where there is one: for what is not about when bytes reach the disk. */
export const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : undefined;
const NONE = new Uint8Array();

const cleanups: (() => unknown)[] = [];

/** What the test has opened is closed with it, last first. */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

/** For `afterEach`. */
export async function cleanUp(): Promise<void> {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
}

/** A directory for storages, gone with the test. @param below where it is made, e.g. in memory when nothing is about the disk */
export function makeRoom(below = tmpdir()): string {
  const dir = mkdtempSync(join(below, 'mh-storage-'));
  atEnd(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'storage');
}

/** Opens a module's storage in a room; closed with the test. */
export async function open(room: string, more: Partial<StoreParts> = {}): Promise<Store> {
  const clock: Clock = createSystemClock();
  const store = await openStore({
    room,
    name: 'probe',
    clock,
    log: createSilentLogger(),
    reads: createTurns(1),
    writes: createTurns(2),
    quotaBytes: 256 * MIB,
    ...more,
  });
  atEnd(() => store.close());
  return store;
}

export const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

export const putStep = (tree: string, key: Uint8Array | string, value: Uint8Array | string): Step => ({
  kind: 'put',
  tree,
  key: typeof key === 'string' ? bytes(key) : key,
  value: typeof value === 'string' ? bytes(value) : value,
});

export const put = (store: Store, tree: string, key: Uint8Array | string, value: Uint8Array | string) =>
  store.write({ kind: 'write', preconditions: [], steps: [putStep(tree, key, value)] });

export const remove = (store: Store, tree: string, key: string) =>
  store.write({ kind: 'write', preconditions: [], steps: [{ kind: 'delete', tree, key: bytes(key) }] });

/** A scan's entries as Latin-1 text. */
export async function scan(store: Store, tree: string, more: Partial<ScanRange> = {}): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for await (const { entries } of store.scan({ ...wholeTree(tree), ...more })) {
    for (const { key, value } of entries) {
      found.push([Buffer.from(key).toString('latin1'), Buffer.from(value).toString('latin1')]);
    }
  }
  return found;
}

export const wholeTree = (tree: string): ScanRange => ({
  ...{ tree, prefix: NONE, start: NONE, end: NONE },
  ...{ reverse: false, limit: 0n, keysOnly: false },
});

/** The reason of a refusal, or `OK`. */
export async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'OK';
  } catch (error) {
    return String((error as { reason?: unknown }).reason ?? error);
  }
}
