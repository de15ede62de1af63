import { type FileHandle, open } from 'node:fs/promises';
import { corrupt } from './failure.js';
import { decodeHead, encodeHead, HEAD_BYTES, type Head } from './records.js';
import { SEAL_BYTES } from './seal.js';

/**
 * The file that is kept apart from the database and says how far it was when it last acknowledged. It has two slots that
 * are written in turn, each on a page of its own: a write that a power cut tears leaves the other one.
 */
export interface CommitFile {
  /** The newer of the slots that are whole. */
  readonly head: Head;
  /** Resolves when the head is on the disk. */
  write(head: Head): Promise<void>;
  close(): Promise<void>;
}

/** Distance of the slots: no sector or page of any disk in use holds both. */
const SLOT_BYTES = 4_096;
const RECORD_BYTES = SEAL_BYTES + HEAD_BYTES;

/** Writes a new file with one head in both slots, and syncs it. */
export async function createCommitFile(path: string, head: Head): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    const whole = Buffer.alloc(2 * SLOT_BYTES);
    encodeHead(head).copy(whole, 0);
    encodeHead(head).copy(whole, SLOT_BYTES);
    await file.write(whole, 0, whole.byteLength, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Opens the file. @throws DATA_CORRUPT when no slot is whole, or there is no file */
export async function openCommitFile(path: string): Promise<CommitFile> {
  let file: FileHandle;
  try {
    file = await open(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw corrupt('the file of commits is missing');
    throw error;
  }
  try {
    const whole = Buffer.alloc(2 * SLOT_BYTES);
    const { bytesRead } = await file.read(whole, 0, whole.byteLength, 0);
    const heads = [0, SLOT_BYTES]
      .filter((at) => at + RECORD_BYTES <= bytesRead)
      .flatMap((at) => decodeHead(whole.subarray(at, at + RECORD_BYTES)) ?? []);
    const head = heads.reduce<Head | undefined>(
      (newest, slot) => (newest === undefined || slot.sequence > newest.sequence ? slot : newest),
      undefined,
    );
    if (head === undefined) throw corrupt('the file of commits holds no whole record');
    return {
      head,
      async write(next) {
        const record = encodeHead(next);
        await file.write(record, 0, record.byteLength, next.sequence % 2n === 0n ? 0 : SLOT_BYTES);
        await file.datasync();
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}
