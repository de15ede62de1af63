import { hash256 } from './hash.js';
import { ByteReader, MalformedBytesError } from './reader.js';
import {
  LEAST_INPUT_BYTES,
  LEAST_OUTPUT_BYTES,
  LEAST_WITNESS_ITEM_BYTES,
  MAX_TRANSACTION_BYTES,
  WITNESS_SCALE_FACTOR,
} from './transaction.js';
import { ByteWriter } from './writer.js';

/**
 * Where the parts of a serialised transaction stand and how many there are, found without making an object for any of
 * them. A hostile miner or module can put millions of empty witness items into one transaction; decoding them takes
 * seconds, walking over them does not.
 */
export interface TransactionOutline {
  /** The whole transaction as serialised; a view. */
  raw: Uint8Array;
  /** True when it is in the form of BIP 144. */
  witnessed: boolean;
  /** Offsets in `raw` of inputs and outputs with their counts: the part that is in both forms. */
  bodyStart: number;
  bodyEnd: number;
  inputCount: number;
  outputCount: number;
  /** Bytes of all scripts outside the witness. */
  scriptBytes: number;
  /** Items of all witness stacks, and their bytes. */
  witnessItems: number;
  witnessBytes: number;
  /** Weight units (BIP 141). */
  weight: number;
}

/** Outline of one transaction; refuses exactly what parseTransaction refuses. @throws MalformedBytesError */
export function outlineTransaction(bytes: Uint8Array): TransactionOutline {
  if (bytes.byteLength > MAX_TRANSACTION_BYTES) {
    throw new MalformedBytesError('transaction is larger than any block', MAX_TRANSACTION_BYTES);
  }
  const reader = new ByteReader(bytes);
  const outline = readOutline(reader);
  reader.end();
  return outline;
}

/** Outline of the transaction that the reader stands at; leaves the reader behind it. @throws MalformedBytesError */
export function readOutline(reader: ByteReader): TransactionOutline {
  const start = reader.offset;
  reader.skip(4);
  let bodyStart = reader.offset;
  let inputCount = reader.count(LEAST_INPUT_BYTES);
  const witnessed = inputCount === 0;
  if (witnessed) {
    if (reader.uint8() !== 1) throw new MalformedBytesError('transaction has no inputs', bodyStart);
    bodyStart = reader.offset;
    inputCount = reader.count(LEAST_INPUT_BYTES);
    if (inputCount === 0) throw new MalformedBytesError('transaction has no inputs', bodyStart);
  }
  let scriptBytes = 0;
  for (let i = 0; i < inputCount; i++) {
    reader.skip(36);
    scriptBytes += skipPrefixed(reader);
    reader.skip(4);
  }
  const outputCount = reader.count(LEAST_OUTPUT_BYTES);
  for (let i = 0; i < outputCount; i++) {
    reader.skip(8);
    scriptBytes += skipPrefixed(reader);
  }
  const bodyEnd = reader.offset;
  let witnessItems = 0;
  let witnessBytes = 0;
  if (witnessed) {
    for (let i = 0; i < inputCount; i++) {
      const items = reader.count(LEAST_WITNESS_ITEM_BYTES);
      witnessItems += items;
      for (let item = 0; item < items; item++) witnessBytes += skipPrefixed(reader);
    }
    if (witnessItems === 0) throw new MalformedBytesError('witness is marked but empty', reader.offset);
  }
  reader.skip(4);
  const raw = reader.since(start);
  const stripped = 4 + (bodyEnd - bodyStart) + 4;
  return {
    raw,
    witnessed,
    bodyStart: bodyStart - start,
    bodyEnd: bodyEnd - start,
    inputCount,
    outputCount,
    scriptBytes,
    witnessItems,
    witnessBytes,
    weight: stripped * (WITNESS_SCALE_FACTOR - 1) + raw.byteLength,
  };
}

/** The transaction without witness, serialised; a view when it has none. */
export function strippedBytes(outline: TransactionOutline): Uint8Array {
  const { raw, bodyStart, bodyEnd } = outline;
  if (!outline.witnessed) return raw;
  const writer = new ByteWriter(4 + (bodyEnd - bodyStart) + 4);
  writer.bytes(raw.subarray(0, 4));
  writer.bytes(raw.subarray(bodyStart, bodyEnd));
  writer.bytes(raw.subarray(-4));
  return writer.done();
}

/** Id without witness, 32 bytes, internal byte order. */
export function outlineTxid(outline: TransactionOutline): Uint8Array {
  return hash256(strippedBytes(outline));
}

/** Id with witness, 32 bytes, internal byte order (BIP 141). */
export function outlineWtxid(outline: TransactionOutline): Uint8Array {
  return hash256(outline.raw);
}

function skipPrefixed(reader: ByteReader): number {
  const length = reader.count(1);
  reader.skip(length);
  return length;
}
