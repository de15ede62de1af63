import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Work } from '../../../src/services/storage/apply.js';
import { createTurns } from '../../../src/services/storage/turns.js';
import { bytes, cleanUp, makeRoom, open, put, putStep, reasonOf, remove, scan, wholeTree } from './rig.js';

afterEach(cleanUp);

const KEY_LIMIT = 1_024;

describe('a storage', () => {
  it('C122: keeps any key and value to the byte, over a restart', async () => {
    const room = makeRoom();
    const entries: [Buffer, Buffer][] = [
      [bytes('__proto__'), bytes('constructor')],
      [Buffer.of(0), Buffer.of(0, 0)],
      [Buffer.of(0xff, 0xfe, 0x80), Buffer.of(0xc3)],
      [bytes('empty'), Buffer.alloc(0)],
      [Buffer.alloc(KEY_LIMIT, 0xff), bytes('longest key')],
      [bytes('large'), Buffer.alloc(1024 * 1024, 0x5a)],
    ];
    let store = await open(room);
    await store.openTree('a');
    for (const [key, value] of entries) await put(store, 'a', key, value);
    for (const round of ['written', 'opened again']) {
      for (const [key, value] of entries) expect((await store.get('a', key))?.equals(value), round).toBe(true);
      expect(await store.get('a', bytes('absent'))).toBeUndefined();
      expect(Object.keys({})).toEqual([]);
      await store.close();
      store = await open(room);
    }
  });

  it('C126: trees whose names begin alike see nothing of each other', async () => {
    const store = await open(makeRoom());
    for (const tree of ['a', 'a_b', 'a_', 'ab']) {
      await store.openTree(tree);
      await put(store, tree, 'b', `of ${tree}`);
      await put(store, tree, '_b', `of ${tree}`);
    }
    for (const tree of ['a', 'a_b', 'a_', 'ab']) {
      expect(await scan(store, tree)).toEqual([
        ['_b', `of ${tree}`],
        ['b', `of ${tree}`],
      ]);
    }
    await store.write({ kind: 'deleteTree', name: 'a' });
    expect(await reasonOf(store.get('a', bytes('b')))).toBe('NOT_FOUND');
    expect(await scan(store, 'a_')).toHaveLength(2);
    // what is created under the old name begins empty
    expect(await store.openTree('a')).toBe(true);
    expect(await scan(store, 'a')).toEqual([]);
  });

  it('scans by bounds, by prefix, backwards, by limit, and without values', async () => {
    const store = await open(makeRoom());
    await store.openTree('t');
    const keys = ['a', 'a\x00', 'a\xff', 'a\xff\xff', 'b', 'b1', '\xff', '\xff\xff'];
    for (const key of keys) await put(store, 't', key, `v${key}`);
    const keysOf = async (more: Parameters<typeof scan>[2]) => (await scan(store, 't', more)).map(([key]) => key);
    expect(await keysOf({})).toEqual(keys);
    expect(await keysOf({ reverse: true })).toEqual([...keys].reverse());
    expect(await keysOf({ prefix: bytes('a') })).toEqual(keys.slice(0, 4));
    expect(await keysOf({ prefix: bytes('a\xff') })).toEqual(['a\xff', 'a\xff\xff']);
    expect(await keysOf({ prefix: bytes('\xff'), reverse: true })).toEqual(['\xff\xff', '\xff']);
    expect(await keysOf({ start: bytes('a\xff'), end: bytes('b1') })).toEqual(['a\xff', 'a\xff\xff', 'b']);
    expect(await keysOf({ start: bytes('b'), end: bytes('a') })).toEqual([]);
    expect(await keysOf({ start: bytes('a\xff'), end: bytes('b1'), reverse: true, limit: 2n })).toEqual([
      'b',
      'a\xff\xff',
    ]);
    expect(await scan(store, 't', { prefix: bytes('b'), keysOnly: true })).toEqual([
      ['b', ''],
      ['b1', ''],
    ]);
  });

  it('C125: a scan shows the state in which it began, whatever is written meanwhile', async () => {
    const store = await open(makeRoom());
    await store.openTree('t');
    const large = Buffer.alloc(300_000, 1);
    for (let index = 0; index < 8; index += 1) await put(store, 't', `k${index}`, large);
    const batches = store.scan(wholeTree('t'));
    const seen = [await batches.next()];
    for (let index = 0; index < 8; index += 1) await remove(store, 't', `k${index}`);
    await put(store, 't', 'k9', 'new');
    for (let next = await batches.next(); next.done !== true; next = await batches.next()) seen.push(next);
    const entries = seen.flatMap(
      ({ value }) => (value as { entries: { key: Uint8Array; value: Uint8Array }[] }).entries,
    );
    expect(entries.map(({ key }) => String(key))).toEqual(Array.from({ length: 8 }, (_, index) => `k${index}`));
    expect(entries.every(({ value }) => large.equals(value))).toBe(true);
    // no batch holds more than it may
    expect(seen.length).toBeGreaterThan(1);
    expect(await scan(store, 't')).toEqual([['k9', 'new']]);
  });

  it('C125: of many that compare and set at once each round has one winner', async () => {
    const store = await open(makeRoom());
    await store.openTree('t');
    const counter = { tree: 't', key: bytes('counter') };
    const increment = async (): Promise<void> => {
      for (;;) {
        const now = await store.get('t', counter.key);
        const next = Buffer.from(String(Number(now ?? 0) + 1));
        const work: Work = {
          kind: 'write',
          preconditions: [{ ...counter, holds: now ?? false }],
          steps: [{ kind: 'put', ...counter, value: next }],
        };
        const outcome = await reasonOf(store.write(work));
        if (outcome === 'OK') return;
        expect(outcome).toBe('PRECONDITION_FAILED');
      }
    };
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let round = 0; round < 5; round += 1) await increment();
      }),
    );
    expect(String(await store.get('t', counter.key))).toBe('40');
  });

  it('does a batch as a whole, judges it by what was before it, and numbers commits for ever', async () => {
    const room = makeRoom();
    let store = await open(room);
    for (const tree of ['a', 'b']) await store.openTree(tree);
    const first = await put(store, 'a', 'x', '1');
    const batch = (holds: boolean | Buffer): Work => ({
      kind: 'write',
      preconditions: [
        { tree: 'a', key: bytes('x'), holds },
        { tree: 'b', key: bytes('y'), holds: false },
      ],
      steps: [
        putStep('b', 'y', 'first'),
        putStep('b', 'y', 'last'),
        putStep('a', 'x', '2'),
        { kind: 'delete', tree: 'a', key: bytes('nothing') },
      ],
    });
    expect(await reasonOf(store.write(batch(bytes('2'))))).toBe('PRECONDITION_FAILED');
    expect(await reasonOf(store.write(batch(false)))).toBe('PRECONDITION_FAILED');
    expect(await scan(store, 'b')).toEqual([]);
    const second = await store.write(batch(bytes('1')));
    expect(second).toBe(first + 1n);
    expect(await scan(store, 'b')).toEqual([['y', 'last']]);
    const nowhere: Work = { kind: 'write', preconditions: [], steps: [putStep('a', 'z', ''), putStep('c', 'z', '')] };
    expect(await reasonOf(store.write(nowhere))).toBe('NOT_FOUND');
    expect(await store.get('a', bytes('z'))).toBeUndefined();
    await store.close();
    store = await open(room);
    expect(await put(store, 'a', 'z', '')).toBe(second + 1n);
  });

  it('removes ranges together with what the batch put into them before', async () => {
    const store = await open(makeRoom());
    await store.openTree('t');
    for (const key of ['a', 'b', 'c', 'd']) await put(store, 't', key, 'old');
    await store.write({
      kind: 'write',
      preconditions: [],
      steps: [
        putStep('t', 'bb', 'in the range'),
        putStep('t', 'b', 'in the range'),
        { kind: 'range', tree: 't', start: bytes('b'), end: bytes('d') },
        putStep('t', 'c', 'behind the range'),
      ],
    });
    expect(await scan(store, 't')).toEqual([
      ['a', 'old'],
      ['c', 'behind the range'],
      ['d', 'old'],
    ]);
    const { keys, bytes: used } = await store.usage();
    expect([keys, used]).toEqual([
      3,
      'a'.length + 'old'.length + 'c'.length + 'behind the range'.length + 'dold'.length,
    ]);
  });

  it('ends the scans of a tree that is deleted, and leaves the others', async () => {
    const store = await open(makeRoom());
    const large = Buffer.alloc(700_000, 1);
    for (const tree of ['gone', 'stays']) {
      await store.openTree(tree);
      for (const key of ['1', '2', '3']) await put(store, tree, key, large);
    }
    const gone = store.scan(wholeTree('gone'));
    const stays = store.scan(wholeTree('stays'));
    await Promise.all([gone.next(), stays.next()]);
    await store.write({ kind: 'deleteTree', name: 'gone' });
    expect(await reasonOf(gone.next())).toBe('NOT_FOUND');
    expect((await stays.next()).done).toBe(false);
    expect(await reasonOf(store.write({ kind: 'deleteTree', name: 'gone' }))).toBe('NOT_FOUND');
  });

  it('has at most eight scans open, and ends those that keep more of the past than may be kept', async () => {
    const store = await open(makeRoom(), { quotaBytes: 4_000_000 });
    await store.openTree('t');
    const large = Buffer.alloc(900_000, 1);
    for (const key of ['1', '2', '3']) await put(store, 't', key, large);
    const scans = Array.from({ length: 8 }, () => store.scan(wholeTree('t')));
    for (const one of scans) await one.next();
    expect(await reasonOf(store.scan(wholeTree('t')).next())).toBe('TOO_MANY_CALLS');
    await scans[0]?.return(undefined);
    const ninth = store.scan(wholeTree('t'));
    expect(await reasonOf(ninth.next())).toBe('OK');
    for (let round = 0; round < 5; round += 1) await put(store, 't', '1', large);
    expect(await reasonOf(ninth.next())).toBe('QUOTA_EXCEEDED');
    expect(await scan(store, 't')).toHaveLength(3);
  });

  it('bounds what waits to be written, and refuses what is cancelled before its turn', async () => {
    const writes = createTurns(1);
    const store = await open(makeRoom(), { writes });
    await store.openTree('t');
    let release = (): void => {};
    const held = writes.run('somebody else', () => new Promise<void>((resolve) => (release = resolve)));
    const cancelled = new AbortController();
    const work: Work = { kind: 'write', preconditions: [], steps: [putStep('t', 'k', 'v')] };
    const waiting = Array.from({ length: 256 }, (_, index) =>
      reasonOf(store.write(work, index === 5 ? cancelled.signal : undefined)),
    );
    expect(await reasonOf(store.write(work))).toBe('TOO_MANY_CALLS');
    cancelled.abort();
    release();
    const outcomes = await Promise.all([...waiting, held]);
    expect(outcomes[5]).toBe('CANCELLED');
    expect(outcomes.filter((outcome) => outcome === 'OK')).toHaveLength(255);
  });
});

describe('what is no damage', () => {
  it('is not taken for it: another holder, a crash that cut a table, a crash that built half of a storage', async () => {
    const room = makeRoom();
    const store = await open(room);
    await store.openTree('t');
    await put(store, 't', 'k', 'v');
    expect(await reasonOf(open(room))).toBe('READ_ONLY');
    await put(store, 't', 'k', 'w');
    await store.close();
    const db = join(room, 'probe', 'db');
    writeFileSync(join(db, '000099.ldb'), 'half of a table');
    mkdirSync(join(room, 'probe.new', 'db'), { recursive: true });
    mkdirSync(join(room, 'other.new', 'db'), { recursive: true });
    const again = await open(room);
    expect(String(await again.get('t', bytes('k')))).toBe('w');
    expect(readdirSync(db).filter((name) => name.startsWith('000099'))).toEqual([]);
    await (await open(room, { name: 'other' })).openTree('t');
    expect(readdirSync(room).filter((name) => name.includes('corrupt'))).toEqual([]);
  });
});

describe('quotas of a storage', () => {
  it('C123: hold to the byte, and are exact after a restart', async () => {
    const room = makeRoom();
    const quotaBytes = 10_000;
    let store = await open(room, { quotaBytes });
    await store.openTree('t');
    await put(store, 't', 'k', Buffer.alloc(quotaBytes - 1));
    expect(await store.usage()).toMatchObject({ bytes: quotaBytes, keys: 1, quotaBytes });
    expect(await reasonOf(put(store, 't', 'k', Buffer.alloc(quotaBytes)))).toBe('QUOTA_EXCEEDED');
    expect(await reasonOf(put(store, 't', 'l', ''))).toBe('QUOTA_EXCEEDED');
    await store.close();
    store = await open(room, { quotaBytes });
    expect(await store.usage()).toMatchObject({ bytes: quotaBytes, keys: 1 });
    expect(await reasonOf(put(store, 't', 'l', ''))).toBe('QUOTA_EXCEEDED');
    // in one batch room is made and used
    await store.write({
      kind: 'write',
      preconditions: [],
      steps: [putStep('t', 'l', '12345678'), { kind: 'delete', tree: 't', key: bytes('k') }],
    });
    expect(await store.usage()).toMatchObject({ bytes: 9, keys: 1 });
    await remove(store, 't', 'l');
    await put(store, 't', 'k', Buffer.alloc(quotaBytes - 1));
    // below what is there: no growth, but less is welcome
    store.limit(5_000);
    expect(await reasonOf(put(store, 't', 'k', Buffer.alloc(quotaBytes)))).toBe('QUOTA_EXCEEDED');
    await put(store, 't', 'k', Buffer.alloc(quotaBytes - 2));
    expect((await store.usage()).bytes).toBe(quotaBytes - 1);
  });

  it('C123: divide among trees, and count trees', async () => {
    const room = makeRoom();
    let store = await open(room);
    for (let index = 0; index < 64; index += 1) await store.openTree(`t${index}`);
    expect(await store.openTree('t1')).toBe(false);
    expect(await reasonOf(store.openTree('one_more'))).toBe('QUOTA_EXCEEDED');
    await store.write({ kind: 'setQuota', name: 't1', quotaBytes: 10 });
    await store.close();
    store = await open(room);
    await put(store, 't1', 'k', '123456789');
    expect(await reasonOf(put(store, 't1', 'l', ''))).toBe('QUOTA_EXCEEDED');
    await put(store, 't2', 'k', '1234567890');
    await store.write({ kind: 'setQuota', name: 't1', quotaBytes: 0 });
    await put(store, 't1', 'l', '');
    expect((await store.usage()).trees.find(({ name }) => name === 't1')).toEqual({
      ...{ name: 't1', bytes: 11, keys: 2, quotaBytes: 0 },
    });
    await store.write({ kind: 'deleteTree', name: 't1' });
    expect(await store.usage()).toMatchObject({ bytes: 11, keys: 1 });
    expect(await store.openTree('one_more')).toBe(true);
  });
});

describe('turns', () => {
  it('go round, one at a time for each and so many over all', async () => {
    const turns = createTurns(2);
    const began: string[] = [];
    let running = 0;
    let most = 0;
    const work = (who: string) =>
      turns.run(who, async () => {
        began.push(who);
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 2));
        running -= 1;
      });
    await Promise.all(['a', 'a', 'a', 'a', 'b', 'b', 'c'].map(work));
    expect(most).toBe(2);
    // whoever comes often waits behind whoever comes seldom
    expect(began.indexOf('c')).toBeLessThan(4);
    expect(began).toHaveLength(7);
  });
});
