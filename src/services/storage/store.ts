import type { ScanResponse } from '../../../gen/ts/modhost/v1/storage.js';
import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { requireTree, totals, type Work } from './apply.js';
import { openCurrent } from './current.js';
import type { EngineOptions } from './engine.js';
import { corrupt, storageFailure } from './failure.js';
import type { OpenFiles } from './files.js';
import { entryKey, entryRange, prefixRange } from './layout.js';
import { createPlace } from './place.js';
import { bytesOnDisk, isWorthReclaiming, rewrite } from './reclaim.js';
import { createScans, type ScanOrder } from './scan.js';
import { unsealed } from './seal.js';
import type { Turns } from './turns.js';
import { createWriter } from './writer.js';

/** What a scan asks for. */
export interface ScanRange extends Omit<ScanOrder, 'range'> {
  readonly tree: string;
  /** Keys that begin so; empty with `start` and `end` for the others. */
  readonly prefix: Uint8Array;
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** What a storage holds and may hold, bytes. */
export interface StorageUsage {
  readonly bytes: number;
  readonly keys: number;
  readonly quotaBytes: number;
  /** Each tree, by ascending name. */
  readonly trees: readonly { name: string; bytes: number; keys: number; quotaBytes: number }[];
}

/** The storage of one module: trees of keys and values, durable when acknowledged. */
export interface Store {
  /** The value, or undefined. @throws NOT_FOUND for a tree that is not there; DATA_CORRUPT */
  get(tree: string, key: Uint8Array): Promise<Buffer | undefined>;
  /** A range in order, from the state at this moment. @throws NOT_FOUND, TOO_MANY_CALLS, DATA_CORRUPT, QUOTA_EXCEEDED */
  scan(range: ScanRange): AsyncGenerator<ScanResponse>;
  /**
   * Does a request, all of it or nothing. @returns its commit number, once it is on the disk
   *
   * @throws NOT_FOUND, PRECONDITION_FAILED, QUOTA_EXCEEDED, OUT_OF_RANGE, TOO_MANY_CALLS, DISK_FULL, DATA_CORRUPT
   */
  write(work: Work, signal?: AbortSignal): Promise<bigint>;
  /** Creates a tree unless it is there; true when it did. @throws QUOTA_EXCEEDED, and as write */
  openTree(name: string, signal?: AbortSignal): Promise<boolean>;
  /** What it holds and may hold. @throws what keeps its files from being opened again */
  usage(): Promise<StorageUsage>;
  /** What it holds, without waiting; undefined while its files are being opened again. */
  size(): { bytes: number; keys: number } | undefined;
  /** Bytes that giving back the room of what was deleted would bring, roughly; 0 when it is not worth it. */
  reclaimable(): Promise<number>;
  /** Gives that room back. @returns bytes that were won @throws DATA_CORRUPT, DISK_FULL, SESSION_CLOSED */
  reclaim(): Promise<number>;
  /** Sets the module's total; what is over it already stays. */
  limit(quotaBytes: number): void;
  /** Refuses what waits, ends scans, writes out what is being written, closes the files. */
  close(): Promise<void>;
}

/** What a store is made of. */
export interface StoreParts {
  /** Directory of all modules' storages. */
  readonly room: string;
  /** The module's name. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Places for reads and for groups of writes, shared by all modules. */
  readonly reads: Turns;
  readonly writes: Turns;
  /** The module's total, bytes. */
  readonly quotaBytes: number;
  readonly engine?: EngineOptions;
}

/** Opens a module's storage, an empty one when there is none. @throws DATA_CORRUPT, DISK_FULL, READ_ONLY */
export async function openStore(parts: StoreParts): Promise<Store> {
  const { name, clock, log, reads } = parts;
  let { quotaBytes } = parts;
  const engine = parts.engine ?? {};
  const place = createPlace(parts.room, name, clock, engine);
  const read = <T>(work: () => Promise<T>): Promise<T> => reads.run(name, work);
  const scans = createScans(read);
  const current = await openCurrent({ name, place, clock, log, reads, engine, onClosing: scans.endAll });
  const writer = createWriter({
    name,
    clock,
    current,
    place,
    writes: parts.writes,
    quotaBytes: () => quotaBytes,
    onWritten(bytes, deletedTrees) {
      for (const tree of deletedTrees) scans.endTree(tree);
      scans.written(bytes, quotaBytes);
    },
  });
  writer.tidy();
  let closing: Promise<void> | undefined;

  const readEntry = async (files: OpenFiles, treeName: string, key: Uint8Array): Promise<Buffer | undefined> => {
    const tree = requireTree(viewOf(files), treeName);
    const at = entryKey(tree.id, key);
    const stored = await read(() => files.engine.get(at));
    // deleted meanwhile: the entry may have gone before the answer, which must not look as if only the key were missing
    if (stored === undefined && files.trees.get(treeName)?.id !== tree.id)
      requireTree({ tree: () => undefined }, treeName);
    if (stored === undefined) return undefined;
    const found = unsealed(at, stored);
    if (found !== undefined) return found.value;
    log.error({ module: name, reason: 'DATA_CORRUPT', tree: treeName }, 'a stored value does not match its checksum');
    throw corrupt('what is stored for this key does not match its checksum');
  };

  return {
    async get(tree, key) {
      const files = await current.toRead();
      try {
        return await readEntry(files, tree, key);
      } catch (error) {
        // the files may have been opened anew in between
        if (error instanceof HostError || files.engine.status === 'open') throw storageFailure(error);
        const again = await current.toRead();
        return await readEntry(again, tree, key).catch((second: unknown) => {
          throw storageFailure(second);
        });
      }
    },
    async *scan({ tree: treeName, prefix, start, end, ...order }) {
      const files = await current.toRead();
      const tree = requireTree(viewOf(files), treeName);
      const range = prefix.byteLength > 0 ? prefixRange(tree.id, prefix) : entryRange(tree.id, start, end);
      try {
        yield* scans.begin(files.engine, tree, { ...order, range });
      } catch (error) {
        throw storageFailure(error);
      }
    },
    write: (work, signal) => writer.submit(work, bytesOf(work), signal),
    async openTree(tree, signal) {
      if ((await current.toRead()).trees.has(tree)) return false;
      let isNew = false;
      const onCreated = (): void => {
        isNew = true;
      };
      await writer.submit({ kind: 'openTree', name: tree, onCreated }, 0, signal);
      return isNew;
    },
    size() {
      const files = current.peek();
      return files === undefined ? undefined : totals({ trees: () => files.trees.values() });
    },
    async usage() {
      const files = await current.toRead();
      return {
        ...totals({ trees: () => files.trees.values() }),
        quotaBytes,
        trees: [...files.trees.values()]
          .map((tree) => ({ name: tree.name, bytes: tree.bytes, keys: tree.keys, quotaBytes: tree.quota }))
          .sort((a, b) => (a.name < b.name ? -1 : 1)),
      };
    },
    async reclaimable() {
      const files = await current.toRead();
      const onDisk = await bytesOnDisk(place.engineDir);
      const { bytes } = totals({ trees: () => files.trees.values() });
      return isWorthReclaiming(onDisk, bytes) ? onDisk - bytes : 0;
    },
    async reclaim() {
      const files = await current.toWrite();
      const before = await bytesOnDisk(place.engineDir);
      await rewrite(files.engine).catch((error: unknown) => {
        // after a failure of the disk nothing may be written before the files are opened anew
        throw current.failed(error);
      });
      return Math.max(0, before - (await bytesOnDisk(place.engineDir)));
    },
    limit(bytes) {
      quotaBytes = bytes;
    },
    close() {
      closing ??= (async () => {
        await writer.close();
        scans.endAll(new HostError('SESSION_CLOSED', 'the storage is closed'));
        await current.close();
      })();
      return closing;
    },
  };
}

function viewOf(files: OpenFiles) {
  return { tree: (name: string) => files.trees.get(name) };
}

/** What a request holds while it waits. */
function bytesOf(work: Work): number {
  if (work.kind !== 'write') return 0;
  let bytes = 0;
  for (const step of work.steps) {
    if (step.kind === 'range') bytes += step.start.byteLength + step.end.byteLength;
    else bytes += step.key.byteLength + (step.kind === 'put' ? step.value.byteLength : 0);
  }
  for (const { key, holds } of work.preconditions) {
    bytes += key.byteLength + (typeof holds === 'boolean' ? 0 : holds.byteLength);
  }
  return bytes;
}
