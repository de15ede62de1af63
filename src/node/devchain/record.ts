import { HostError } from '../../contract/error.js';
import { MAX_BLOCK_BYTES } from '../../core/bitcoin/block.js';
import { sha256 } from '../../core/bitcoin/hash.js';
import type { RecordKind, StoreRecord } from './block-store.js';

// One record, little-endian:  kind 1 | length 4 | payload checksum 4 | head checksum 4 | payload
// The head has a checksum of its own, so that a changed length is not mistaken for a record cut off at the end.

/** Bytes in front of a record's payload. */
export const RECORD_HEAD_BYTES = 13;

/** Version of the file's form; a reader refuses higher ones. */
const FORM_VERSION = 1;

const MAGIC = Buffer.from('modhost-devchain', 'ascii');

const KINDS: readonly RecordKind[] = ['block', 'invalid'];

/** First bytes of the file: its name and the version of its form. */
export const FILE_HEAD: Uint8Array = Uint8Array.of(...MAGIC, FORM_VERSION, 0, 0, 0);

/** What a record's head says. */
export interface RecordHead {
  kind: RecordKind;
  length: number;
  checksum: Uint8Array;
}

/** Refuses a file that is not of this form. @throws DATA_CORRUPT, DATA_TOO_NEW */
export function readFileHead(head: Uint8Array, path: string): void {
  if (!MAGIC.equals(head.subarray(0, MAGIC.byteLength))) {
    throw new HostError('DATA_CORRUPT', `${path} is no file of blocks; move it away to begin a new chain`, {
      details: { path },
    });
  }
  const version = new DataView(head.buffer, head.byteOffset).getUint32(MAGIC.byteLength, true);
  if (version > FORM_VERSION) {
    throw new HostError('DATA_TOO_NEW', `${path} was written by a newer modhost (form ${version})`, {
      details: { path },
    });
  }
  if (version !== FORM_VERSION) {
    throw new HostError('DATA_CORRUPT', `${path} has no known form (${version})`, { details: { path } });
  }
}

/** Bytes of a record. */
export function encodeRecord(record: StoreRecord): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEAD_BYTES + record.payload.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, KINDS.indexOf(record.kind) + 1);
  view.setUint32(1, record.payload.byteLength, true);
  bytes.set(checksum(record.payload), 5);
  bytes.set(checksum(bytes.subarray(0, 9)), 9);
  bytes.set(record.payload, RECORD_HEAD_BYTES);
  return bytes;
}

/** What a head says, or undefined when it is none. */
export function decodeRecordHead(head: Uint8Array): RecordHead | undefined {
  if (head.byteLength < RECORD_HEAD_BYTES) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const kind = KINDS[view.getUint8(0) - 1];
  const length = view.getUint32(1, true);
  const intact = Buffer.compare(checksum(head.subarray(0, 9)), head.subarray(9, RECORD_HEAD_BYTES)) === 0;
  if (!intact || kind === undefined || length > MAX_BLOCK_BYTES) return undefined;
  return { kind, length, checksum: Uint8Array.from(head.subarray(5, 9)) };
}

/** True when the payload is the one that the head announces. */
export function payloadMatches(head: RecordHead, payload: Uint8Array): boolean {
  return payload.byteLength === head.length && Buffer.compare(checksum(payload), head.checksum) === 0;
}

function checksum(bytes: Uint8Array): Uint8Array {
  return sha256(bytes).subarray(0, 4);
}
