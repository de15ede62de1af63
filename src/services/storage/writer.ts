import { HostError, throwIfAborted } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import { applyWork, isAlone, placesOf, type Work } from './apply.js';
import { type Breath, createBreath } from './breath.js';
import type { Current } from './current.js';
import { createDraft, type Draft, type Entry, type View } from './draft.js';
import { walk } from './engine.js';
import { corrupt } from './failure.js';
import type { OpenFiles } from './files.js';
import { entryKey, HEAD_KEY, type KeyRange, treeKey } from './layout.js';
import { MAX_GROUP_BYTES, MAX_GROUP_REQUESTS, MAX_QUEUED_BYTES, MAX_QUEUED_WRITES } from './limits.js';
import type { Place } from './place.js';
import { encodeHead, encodeTree, type Head, headOf } from './records.js';
import { unsealed } from './seal.js';
import type { Turns } from './turns.js';

/** Writes of one storage, in the order in which they come. */
export interface Writer {
  /**
   * Does the work, all of it or nothing; resolves with its commit number when it is durable.
   *
   * @param bytes how much of the caller's it holds while it waits
   * @throws as applyWork; TOO_MANY_CALLS, DISK_FULL, CANCELLED before its turn
   */
  submit(work: Work, bytes: number, signal?: AbortSignal): Promise<bigint>;
  /** Lets the entries of deleted trees be removed. */
  tidy(): void;
  /** Refuses what waits, and resolves when what is being written is written. */
  close(): Promise<void>;
}

/** What a writer is made of. */
export interface WriterParts {
  readonly name: string;
  readonly clock: Clock;
  readonly current: Current;
  readonly place: Place;
  /** Places for groups of all modules. */
  readonly writes: Turns;
  /** The module's total, bytes. */
  quotaBytes(): number;
  /** A group of this many bytes is in the database. */
  onWritten(bytes: number, deletedTrees: readonly number[]): void;
}

interface Pending {
  work: Work;
  bytes: number;
  signal: AbortSignal | undefined;
  resolve(commit: bigint): void;
  reject(error: unknown): void;
}

/** Entries that are read ahead in one go, and what they should be together, bytes: all of them come in one turn of the loop. */
const READ_AHEAD = 32;
const READ_AHEAD_BYTES = 512 * 1024;
/** Entries of deleted trees that are removed at a turn. */
const TIDY_KEYS = 2_000;

/** Makes the writer of a storage. */
export function createWriter(parts: WriterParts): Writer {
  const { name, current, writes } = parts;
  const queue: Pending[] = [];
  let queuedBytes = 0;
  let loop: Promise<void> | undefined;
  let closed = false;

  /** The next requests that are written together. */
  const nextGroup = (): Pending[] => {
    const group: Pending[] = [];
    let bytes = 0;
    for (let first = queue[0]; first !== undefined; first = queue[0]) {
      const isLast = isAlone(first.work);
      if (group.length > 0 && (isLast || bytes + first.bytes > MAX_GROUP_BYTES)) break;
      queue.shift();
      queuedBytes -= first.bytes;
      bytes += first.bytes;
      group.push(first);
      if (isLast || group.length >= MAX_GROUP_REQUESTS) break;
    }
    return group;
  };

  const turn = async (): Promise<void> => {
    let files: OpenFiles;
    try {
      files = await current.toWrite();
    } catch (error) {
      for (const { reject } of nextGroup()) reject(error);
      throw error;
    }
    const left = [...files.garbage.values()].reduce((sum, bytes) => sum + bytes, 0);
    // what was deleted and not yet removed must not grow over what may be kept
    const group = left > parts.quotaBytes() ? [] : nextGroup();
    try {
      if (group.length > 0) await writeGroup(group, files, parts);
      if (left > 0) await removeGarbage(files);
    } catch (error) {
      const failure = current.failed(error);
      // rejecting once more what was answered already changes nothing
      for (const { reject } of group) reject(failure);
    }
  };

  const run = async (): Promise<void> => {
    while (!closed && (queue.length > 0 || (current.peek()?.garbage.size ?? 0) > 0)) {
      try {
        await writes.run(name, turn);
      } catch {
        // what cannot be tidied now is tidied after a write has found the disk well again
        if (queue.length === 0) return;
      }
    }
  };
  const wake = (): void => {
    loop ??= run().finally(() => {
      loop = undefined;
      if (queue.length > 0 && !closed) wake();
    });
  };

  return {
    tidy: wake,
    submit(work, bytes, signal) {
      if (closed) return Promise.reject(new HostError('SESSION_CLOSED', 'the storage is closed'));
      if (queue.length >= MAX_QUEUED_WRITES || queuedBytes + bytes > MAX_QUEUED_BYTES) {
        const wait = 'too many writes of this module wait to be written; send fewer at once';
        return Promise.reject(new HostError('TOO_MANY_CALLS', wait, { retryAfterMs: 100 }));
      }
      return new Promise((resolve, reject) => {
        queue.push({ work, bytes, signal, resolve, reject });
        queuedBytes += bytes;
        wake();
      });
    },
    async close() {
      closed = true;
      for (const { reject } of queue.splice(0)) reject(new HostError('SESSION_CLOSED', 'the storage is closed'));
      await loop;
    },
  };
}

/** Applies a group in order, writes what holds as one batch, and answers every request. */
async function writeGroup(group: readonly Pending[], files: OpenFiles, parts: WriterParts): Promise<void> {
  const done: { pending: Pending; commit: bigint }[] = [];
  const breath = createBreath(parts.clock);
  const view = await readAhead(group, files, breath);
  let whole = createDraft(view);
  let { nextTree } = files.head;
  let { commit } = files.head;
  for (const pending of group) {
    try {
      if (pending.signal !== undefined) throwIfAborted(pending.signal);
      const read = (range: KeyRange) => chunks(files, range);
      const draft = await applyWork(pending.work, whole, { quotaBytes: parts.quotaBytes(), nextTree, breath, read });
      if (done.length === 0) whole = draft;
      else whole.adopt(draft);
      for (const tree of draft.changedTrees.values()) nextTree = Math.max(nextTree, (tree?.id ?? 0) + 1);
      commit += 1n;
      done.push({ pending, commit });
    } catch (error) {
      pending.reject(error);
    }
  }
  if (done.length === 0) return;
  const head = headOf(whole.trees(), { sequence: files.head.sequence + 1n, commit, nextTree });
  await commitDraft(files, whole, head, parts, breath);
  for (const { pending, commit: number } of done) pending.resolve(number);
}

/** Database first, then the file apart; what is in both, synced, may be acknowledged. */
async function commitDraft(
  files: OpenFiles,
  draft: Draft,
  head: Head,
  parts: WriterParts,
  breath: Breath,
): Promise<void> {
  const deleted: number[] = [];
  let bytes = 0;
  const batch = files.engine.batch();
  for (const { place, stored } of draft.changes.values()) {
    bytes += place.byteLength + (stored?.byteLength ?? 0);
    if (stored === undefined) batch.del(place);
    else batch.put(place, stored);
    await breath();
  }
  for (const [name, tree] of draft.changedTrees) {
    if (tree === undefined) batch.del(treeKey(name));
    else batch.put(treeKey(name), encodeTree(tree));
  }
  batch.put(HEAD_KEY, encodeHead(head));
  await batch.write({ sync: true });
  // from here on it shows
  for (const [name, tree] of draft.changedTrees) {
    if (tree !== undefined) {
      files.trees.set(name, tree);
      continue;
    }
    const gone = files.trees.get(name);
    files.trees.delete(name);
    if (gone === undefined) continue;
    deleted.push(gone.id);
    if (gone.keys > 0) files.garbage.set(gone.id, gone.bytes);
  }
  parts.onWritten(bytes, deleted);
  await files.commits.write(head);
  // a log that was begun meanwhile must be found again too
  await parts.place.settle();
  files.head = head;
}

/** The state before a group, with every entry that the group names read. */
async function readAhead(group: readonly Pending[], files: OpenFiles, breath: Breath): Promise<View> {
  const view: View = {
    tree: (name) => files.trees.get(name),
    trees: () => files.trees.values(),
    entry(at) {
      const entry = known.get(at);
      if (entry === 'changed') throw corrupt('what is stored for a key of this request is changed');
      return entry;
    },
  };
  const known = new Map<string, Entry | 'changed' | undefined>();
  const wanted = new Map<string, Buffer>();
  for (const { work } of group) {
    for (const place of placesOf(work, view)) {
      wanted.set(place.toString('latin1'), place);
      await breath();
    }
  }
  const places = [...wanted];
  const fitting = (bytes: number, entries: number): number =>
    Math.max(1, Math.min(READ_AHEAD, Math.floor((READ_AHEAD_BYTES * entries) / (bytes + 1))));
  // what is there is taken to be as large as what comes in its place, until it is seen
  let most = fitting(
    group.reduce((sum, { bytes }) => sum + bytes, 0),
    places.length,
  );
  for (let from = 0; from < places.length; ) {
    const some = places.slice(from, from + most);
    from += some.length;
    const stored = await files.engine.getMany(some.map(([, place]) => place));
    most = fitting(
      stored.reduce((sum, bytes) => sum + (bytes?.byteLength ?? 0), 0),
      some.length,
    );
    for (const [index, [at, place]] of some.entries()) {
      const bytes = stored[index];
      if (bytes === undefined) continue;
      const found = unsealed(place, bytes);
      known.set(at, found === undefined ? 'changed' : { valueBytes: found.value.byteLength, seal: found.seal });
      await breath();
    }
  }
  return view;
}

async function* chunks(files: OpenFiles, range: KeyRange): AsyncGenerator<[Buffer, Buffer][]> {
  const entries = walk(files.engine, range);
  try {
    for (let chunk = await entries.next(); chunk.length > 0; chunk = await entries.next()) yield chunk;
  } finally {
    await entries.close();
  }
}

/** Removes some of what a deleted tree has left; it needs no sync, because nobody can see it. */
async function removeGarbage({ engine, garbage }: OpenFiles): Promise<void> {
  const [first] = garbage.keys();
  if (first === undefined) return;
  const none = new Uint8Array();
  const range = { gte: entryKey(first, none), lt: entryKey(first + 1, none) };
  const keys = await engine.keys({ ...range, limit: TIDY_KEYS, fillCache: false }).all();
  if (keys.length < TIDY_KEYS) garbage.delete(first);
  const batch = engine.batch();
  for (const key of keys) batch.del(key);
  await batch.write();
}
