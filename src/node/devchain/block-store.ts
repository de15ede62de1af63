import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HostError } from '../../contract/error.js';
import type { Logger } from '../../core/logger.js';
import type { StoredAt } from './block-tree.js';
import {
  decodeRecordHead,
  encodeRecord,
  FILE_HEAD,
  payloadMatches,
  RECORD_HEAD_BYTES,
  readFileHead,
} from './record.js';

/** What one record of the store says. */
export type RecordKind = 'block' | 'invalid';

/** One thing to keep: a block's bytes, or the hash of a block that was found or declared invalid. */
export interface StoreRecord {
  kind: RecordKind;
  payload: Uint8Array;
}

/** Keeps blocks in the order in which they were accepted. Never changes what it has written. */
export interface BlockStore {
  /** Everything kept so far, oldest first; called once, before the first append. @throws DATA_CORRUPT */
  replay(): AsyncIterable<StoreRecord & { at: StoredAt }>;
  /** Keeps records; when it returns they survive a crash. All or none of them. @throws DISK_FULL, NODE_UNAVAILABLE */
  append(records: readonly StoreRecord[]): Promise<StoredAt[]>;
  /** Bytes of one record. @throws DATA_CORRUPT */
  read(at: StoredAt): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Makes a store that forgets with the process. */
export function createMemoryStore(): BlockStore {
  const payloads: Uint8Array[] = [];
  return {
    async *replay() {},
    async append(records) {
      return records.map(({ payload }) => ({ offset: payloads.push(payload) - 1, length: payload.byteLength }));
    },
    async read(at) {
      return payloads[at.offset] ?? new Uint8Array(0);
    },
    async close() {},
  };
}

/** Bytes read at once while replaying: few system calls, little memory. */
const CHUNK_BYTES = 1 << 20;

/**
 * Opens or creates the file of blocks: 20 bytes of head, then records with checksums, only ever appended to, each
 * append synced to the disk. A record that ends with the file was cut off by a crash before anybody was told of it: it
 * is removed and the log says so. Anything else that does not match is DATA_CORRUPT, and the file stays as it is.
 *
 * @throws DATA_CORRUPT, DATA_TOO_NEW, UNSAFE_DATA_DIR, DISK_FULL
 */
export async function openFileStore(path: string, logger: Logger): Promise<BlockStore> {
  const file = await openFile(path);
  let end = 0;
  let replayed = false;

  return {
    async *replay() {
      const { size } = await file.stat();
      if (size < FILE_HEAD.byteLength) {
        await startFile(size);
        return;
      }
      readFileHead(await exactly(0, FILE_HEAD.byteLength), path);
      end = FILE_HEAD.byteLength;
      const source = chunked(file, size);
      while (end < size) {
        const head = await source(end, RECORD_HEAD_BYTES);
        if (head.byteLength < RECORD_HEAD_BYTES) break;
        const record = decodeRecordHead(head);
        if (record === undefined) {
          // A file system may have grown the file before a crash without writing to it: zeros up to the end.
          if (await onlyZeros(source, end, size)) break;
          throw corrupt(path, end);
        }
        const offset = end + RECORD_HEAD_BYTES;
        const payload = await source(offset, record.length);
        if (payload.byteLength < record.length) break;
        if (!payloadMatches(record, payload)) throw corrupt(path, end);
        end = offset + record.length;
        yield { kind: record.kind, payload: Uint8Array.from(payload), at: { offset, length: record.length } };
      }
      if (end < size) {
        logger.warn(
          { path, removedBytes: size - end },
          'removed a record that a crash had cut off at the end of the chain',
        );
        await file.truncate(end);
        await file.sync();
      }
      replayed = true;
    },

    async append(records) {
      if (!replayed) throw new HostError('NODE_UNAVAILABLE', 'the chain was not read yet');
      const encoded = records.map(encodeRecord);
      const bytes = Buffer.concat(encoded);
      try {
        await writeAll(bytes, end);
        await file.datasync();
      } catch (error) {
        // Half a record must not stay: the next append would stand behind it.
        await file.truncate(end).catch(() => undefined);
        throw writeError(error, path);
      }
      const places: StoredAt[] = [];
      for (const record of encoded) {
        places.push({ offset: end + RECORD_HEAD_BYTES, length: record.byteLength - RECORD_HEAD_BYTES });
        end += record.byteLength;
      }
      return places;
    },

    async read(at) {
      const head = decodeRecordHead(await exactly(at.offset - RECORD_HEAD_BYTES, RECORD_HEAD_BYTES));
      const payload = await exactly(at.offset, at.length);
      if (head === undefined || !payloadMatches(head, payload)) throw corrupt(path, at.offset - RECORD_HEAD_BYTES);
      return payload;
    },

    close: () => file.close(),
  };

  async function startFile(size: number): Promise<void> {
    const present = await exactly(0, size);
    // A crash while the file was made leaves a piece of its head, and no more.
    if (!present.every((byte, index) => byte === FILE_HEAD[index])) throw corrupt(path, 0);
    try {
      await writeAll(FILE_HEAD, 0);
      await file.sync();
    } catch (error) {
      throw writeError(error, path);
    }
    end = FILE_HEAD.byteLength;
    replayed = true;
  }

  async function writeAll(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.byteLength; ) {
      const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, position + done);
      done += bytesWritten;
    }
  }

  async function exactly(position: number, length: number): Promise<Uint8Array> {
    return readUpTo(file, position, length);
  }
}

/** Reads at a position, fewer bytes only at the end of the file. */
async function readUpTo(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

/** Reads ascending pieces through a window, so that small records do not cost a system call each. */
function chunked(file: FileHandle, size: number): (position: number, length: number) => Promise<Uint8Array> {
  let start = 0;
  let window = new Uint8Array(0);
  return async (position, length) => {
    const inside = position >= start && position + length <= start + window.byteLength;
    if (!inside) {
      start = position;
      window = Uint8Array.from(
        await readUpTo(file, position, Math.min(Math.max(length, CHUNK_BYTES), size - position)),
      );
    }
    return window.subarray(position - start, position - start + length);
  };
}

async function onlyZeros(
  source: (position: number, length: number) => Promise<Uint8Array>,
  from: number,
  size: number,
): Promise<boolean> {
  for (let at = from; at < size; at += CHUNK_BYTES) {
    const piece = await source(at, Math.min(CHUNK_BYTES, size - at));
    if (piece.some((byte) => byte !== 0)) return false;
  }
  return true;
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ELOOP') {
      throw new HostError('UNSAFE_DATA_DIR', `${path} is a link; put the file itself there`, { cause: error });
    }
    throw writeError(error, path);
  }
}

function writeError(error: unknown, path: string): HostError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new HostError('DISK_FULL', `no room to write ${path}; free some space`, { cause: error });
  }
  return new HostError('NODE_UNAVAILABLE', `cannot write ${path} (${code || 'unknown error'})`, { cause: error });
}

function corrupt(path: string, offset: number): HostError {
  return new HostError(
    'DATA_CORRUPT',
    `${path} does not match its checksums at byte ${offset}; bring back a copy, or move the file away to begin a new chain`,
    { details: { path, offset } },
  );
}
