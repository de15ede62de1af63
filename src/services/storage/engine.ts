import { ClassicLevel } from 'classic-level';
import type { KeyRange } from './layout.js';

/** LevelDB with plain bytes on both sides. */
export type Engine = ClassicLevel<Buffer, Buffer>;

/** What a test may set to see the engine compact early. */
export interface EngineOptions {
  /** Writes that are held in memory before they become a table, bytes. */
  readonly writeBufferBytes?: number;
}

/**
 * Held in memory per module, up to twice: a small computer runs twenty modules. Smaller makes every large value a table of
 * its own.
 */
export const WRITE_BUFFER_BYTES = 1024 * 1024;
/** Blocks of tables that are held in memory per module, bytes. */
const CACHE_BYTES = 512 * 1024;
/** Size of a table, bytes: a full storage is some thirty files, each open or mapped. */
const TABLE_BYTES = 8 * 1024 * 1024;
/** Entries and bytes that one read of a range takes: what is checked in one go without holding the event loop for long. */
const CHUNK_ENTRIES = 500;
const CHUNK_BYTES = 256 * 1024;

/** Opens the engine over its directory. @throws what classic-level throws; `storageFailure` says what it means */
export async function openEngine(dir: string, options: EngineOptions & { create?: boolean } = {}): Promise<Engine> {
  const engine: Engine = new ClassicLevel<Buffer, Buffer>(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  await engine.open({
    createIfMissing: options.create === true,
    errorIfExists: options.create === true,
    // the tables are proved before the engine reads them, which takes the index as it is; and most of it is hashes
    compression: false,
    cacheSize: CACHE_BYTES,
    writeBufferSize: options.writeBufferBytes ?? WRITE_BUFFER_BYTES,
    maxFileSize: TABLE_BYTES,
    maxOpenFiles: 64,
  });
  return engine;
}

/** A walk over a range on the state in which it began, in pieces of a bounded size. */
export interface Walk {
  /** The next entries; empty at the end. */
  next(): Promise<[Buffer, Buffer][]>;
  close(): Promise<void>;
}

/** Begins a walk; the snapshot is taken before this returns. */
export function walk(engine: Engine, range: KeyRange, reverse = false): Walk {
  const iterator = engine.iterator({
    ...range,
    reverse,
    // a walk over everything would drive out what single reads need
    fillCache: false,
    highWaterMarkBytes: CHUNK_BYTES,
  });
  return {
    next: () => iterator.nextv(CHUNK_ENTRIES) as Promise<[Buffer, Buffer][]>,
    close: () => iterator.close(),
  };
}
