import { hash256 } from './hash.js';
import { ByteReader, MalformedBytesError } from './reader.js';
import { ByteWriter, compactSizeLength } from './writer.js';

/** Largest serialised transaction, bytes: one that fills a block of 4,000,000 weight units with witness (BIP 141). */
export const MAX_TRANSACTION_BYTES = 4_000_000;

/** Weight units of one virtual byte (BIP 141). */
export const WITNESS_SCALE_FACTOR = 4;

/** Most money there can be, satoshis; an output above it is never valid. */
export const MAX_MONEY_SATS = 2_100_000_000_000_000n;

/** Smallest serialised input, bytes; like the next two it bounds a hostile count by the bytes that are there. */
export const LEAST_INPUT_BYTES = 32 + 4 + 1 + 4;
/** Smallest serialised output, bytes. */
export const LEAST_OUTPUT_BYTES = 8 + 1;
/** Smallest serialised witness item, bytes. */
export const LEAST_WITNESS_ITEM_BYTES = 1;

/** Reference to an output of an earlier transaction. */
export interface TransactionOutpoint {
  /** 32 bytes, internal byte order; all zero in a coinbase. */
  txid: Uint8Array;
  /** Position of the output from 0; 0xffffffff in a coinbase. */
  index: number;
}

/** One input. */
export interface TransactionInput {
  outpoint: TransactionOutpoint;
  scriptSig: Uint8Array;
  sequence: number;
  /** Witness stack, bottom first; empty when the input has none. */
  witness: Uint8Array[];
}

/** One output. */
export interface TransactionOutput {
  /** Satoshis, 0 to 2^64 - 1 as serialised; the decoder does not judge the sum. */
  valueSats: bigint;
  scriptPubkey: Uint8Array;
}

/** A decoded transaction. Byte fields may be views into the bytes it was parsed from. */
export interface Transaction {
  /** 0 to 2^32 - 1. */
  version: number;
  inputs: TransactionInput[];
  outputs: TransactionOutput[];
  lockTime: number;
}

/**
 * Decodes one transaction, with or without witness. Bytes of strangers may hold millions of witness items, which take
 * about a microsecond each: look at their number by outlineTransaction first.
 *
 * @param bytes at most MAX_TRANSACTION_BYTES, nothing after the transaction
 * @throws MalformedBytesError also for an unknown marker flag, a witness that is empty throughout, and no inputs
 * @see BIP 144
 */
export function parseTransaction(bytes: Uint8Array): Transaction {
  if (bytes.byteLength > MAX_TRANSACTION_BYTES) {
    throw new MalformedBytesError('transaction is larger than any block', MAX_TRANSACTION_BYTES);
  }
  const reader = new ByteReader(bytes);
  const transaction = readTransaction(reader);
  reader.end();
  return transaction;
}

/** Decodes the transaction that the reader stands at and leaves the reader behind it. @throws MalformedBytesError */
export function readTransaction(reader: ByteReader): Transaction {
  const version = reader.uint32();
  const start = reader.offset;
  let inputCount = reader.count(LEAST_INPUT_BYTES);
  let witnessed = false;
  if (inputCount === 0) {
    // A count of zero is the marker of BIP 144; the flag that follows is 1, the only one defined.
    if (reader.uint8() !== 1) throw new MalformedBytesError('transaction has no inputs', start);
    witnessed = true;
    inputCount = reader.count(LEAST_INPUT_BYTES);
    if (inputCount === 0) throw new MalformedBytesError('transaction has no inputs', start);
  }
  const inputs: TransactionInput[] = [];
  for (let i = 0; i < inputCount; i++) {
    const txid = reader.bytes(32);
    const index = reader.uint32();
    const scriptSig = reader.lengthPrefixed();
    const sequence = reader.uint32();
    inputs.push({ outpoint: { txid, index }, scriptSig, sequence, witness: [] });
  }
  const outputs: TransactionOutput[] = [];
  for (let i = reader.count(LEAST_OUTPUT_BYTES); i > 0; i--) {
    const valueSats = reader.uint64();
    outputs.push({ valueSats, scriptPubkey: reader.lengthPrefixed() });
  }
  if (witnessed) {
    for (const input of inputs) {
      for (let i = reader.count(LEAST_WITNESS_ITEM_BYTES); i > 0; i--) input.witness.push(reader.lengthPrefixed());
    }
    if (!inputs.some((input) => input.witness.length > 0)) {
      throw new MalformedBytesError('witness is marked but empty', reader.offset);
    }
  }
  return { version, inputs, outputs, lockTime: reader.uint32() };
}

/** True when at least one input carries a witness. */
export function hasWitness(transaction: Transaction): boolean {
  return transaction.inputs.some((input) => input.witness.length > 0);
}

/** True for the first transaction of a block, which spends nothing and mints the reward. */
export function isCoinbase(transaction: Transaction): boolean {
  const [first, second] = transaction.inputs;
  if (first === undefined || second !== undefined) return false;
  return first.outpoint.index === 0xffff_ffff && first.outpoint.txid.every((byte) => byte === 0);
}

/**
 * Bytes of a transaction. With `witness` (and only if some input has one) the form of BIP 144, else the form whose
 * hash is the txid.
 */
export function serializeTransaction(transaction: Transaction, options: { witness: boolean }): Uint8Array {
  const witnessed = options.witness && hasWitness(transaction);
  const writer = new ByteWriter(transactionSize(transaction, witnessed));
  writer.uint32(transaction.version);
  if (witnessed) {
    writer.uint8(0);
    writer.uint8(1);
  }
  writer.compactSize(transaction.inputs.length);
  for (const input of transaction.inputs) {
    writer.bytes(input.outpoint.txid);
    writer.uint32(input.outpoint.index);
    writer.lengthPrefixed(input.scriptSig);
    writer.uint32(input.sequence);
  }
  writer.compactSize(transaction.outputs.length);
  for (const output of transaction.outputs) {
    writer.uint64(output.valueSats);
    writer.lengthPrefixed(output.scriptPubkey);
  }
  if (witnessed) {
    for (const input of transaction.inputs) {
      writer.compactSize(input.witness.length);
      for (const item of input.witness) writer.lengthPrefixed(item);
    }
  }
  writer.uint32(transaction.lockTime);
  return writer.done();
}

/** Id without witness, 32 bytes, internal byte order. */
export function txid(transaction: Transaction): Uint8Array {
  return hash256(serializeTransaction(transaction, { witness: false }));
}

/** Id with witness, 32 bytes, internal byte order; equals the txid when there is no witness (BIP 141). */
export function wtxid(transaction: Transaction): Uint8Array {
  return hash256(serializeTransaction(transaction, { witness: true }));
}

/** Weight units: three times the size without witness plus the size with it (BIP 141). */
export function weight(transaction: Transaction): number {
  const stripped = transactionSize(transaction, false);
  const total = hasWitness(transaction) ? transactionSize(transaction, true) : stripped;
  return stripped * (WITNESS_SCALE_FACTOR - 1) + total;
}

/** Virtual bytes: a quarter of the weight, rounded up (BIP 141). */
export function vsize(transaction: Transaction): number {
  return Math.ceil(weight(transaction) / WITNESS_SCALE_FACTOR);
}

function transactionSize(transaction: Transaction, witnessed: boolean): number {
  let size = 4 + compactSizeLength(transaction.inputs.length) + compactSizeLength(transaction.outputs.length) + 4;
  for (const input of transaction.inputs) size += 40 + prefixedSize(input.scriptSig);
  for (const output of transaction.outputs) size += 8 + prefixedSize(output.scriptPubkey);
  if (!witnessed) return size;
  size += 2;
  for (const input of transaction.inputs) {
    size += compactSizeLength(input.witness.length);
    for (const item of input.witness) size += prefixedSize(item);
  }
  return size;
}

function prefixedSize(bytes: Uint8Array): number {
  return compactSizeLength(bytes.byteLength) + bytes.byteLength;
}
