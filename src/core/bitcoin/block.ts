import { type BlockHeader, HEADER_BYTES, parseHeader } from './header.js';
import { readOutline, type TransactionOutline } from './outline.js';
import { ByteReader, MalformedBytesError } from './reader.js';
import { readTransaction, serializeTransaction, type Transaction, WITNESS_SCALE_FACTOR } from './transaction.js';
import { ByteWriter, compactSizeLength } from './writer.js';

/** Largest serialised block, bytes: the weight limit of 4,000,000 with nothing but witness (BIP 141). */
export const MAX_BLOCK_BYTES = 4_000_000;

/** Smallest transaction that parses, bytes; bounds the transaction count by the bytes that are there. */
const LEAST_TRANSACTION_BYTES = 51;

/** A decoded block. Byte fields are views into the bytes it was parsed from. */
export interface Block {
  header: BlockHeader;
  /** 80 bytes. */
  headerBytes: Uint8Array;
  transactions: Transaction[];
}

/** One transaction of a block. */
export interface BlockTransaction {
  /** Position in the block; 0 is the coinbase. */
  index: number;
  /** As serialised in the block, witness included; a view. */
  raw: Uint8Array;
  transaction: Transaction;
}

/**
 * Decodes a whole block. Structure only: proof of work, merkle root and every rule are the node's.
 *
 * @param bytes at most MAX_BLOCK_BYTES, nothing after the block
 * @throws MalformedBytesError
 */
export function parseBlock(bytes: Uint8Array): Block {
  const transactions = [...iterateBlockTransactions(bytes)].map((item) => item.transaction);
  const headerBytes = new ByteReader(bytes).bytes(HEADER_BYTES);
  return { header: parseHeader(headerBytes), headerBytes, transactions };
}

/**
 * The transactions of a block, decoded one by one, so that a reader of the first never pays for the rest.
 *
 * @throws MalformedBytesError at the transaction that is wrong; those before it were given
 */
export function* iterateBlockTransactions(bytes: Uint8Array): Generator<BlockTransaction, void, undefined> {
  const { reader, count } = openBlock(bytes);
  for (let index = 0; index < count; index++) {
    const start = reader.offset;
    const transaction = readTransaction(reader);
    yield { index, raw: reader.since(start), transaction };
  }
  reader.end();
}

/** Outlines of a block's transactions in their order: what to read of a stranger's block first. @throws MalformedBytesError */
export function* iterateBlockOutlines(bytes: Uint8Array): Generator<TransactionOutline, void, undefined> {
  const { reader, count } = openBlock(bytes);
  for (let index = 0; index < count; index++) yield readOutline(reader);
  reader.end();
}

/** Number of transactions that a block announces; read without decoding them. @throws MalformedBytesError */
export function blockTransactionCount(bytes: Uint8Array): number {
  return openBlock(bytes).count;
}

/** Number of transactions, and weight units of the whole block (BIP 141). @throws MalformedBytesError */
export function measureBlock(bytes: Uint8Array): { txCount: number; weight: number } {
  const txCount = blockTransactionCount(bytes);
  let total = (HEADER_BYTES + compactSizeLength(txCount)) * WITNESS_SCALE_FACTOR;
  for (const outline of iterateBlockOutlines(bytes)) total += outline.weight;
  return { txCount, weight: total };
}

/** Bytes of a block with witness, from its header's 80 bytes and its transactions. */
export function serializeBlock(headerBytes: Uint8Array, transactions: readonly Transaction[]): Uint8Array {
  const parts = transactions.map((transaction) => serializeTransaction(transaction, { witness: true }));
  const size = parts.reduce((sum, part) => sum + part.byteLength, HEADER_BYTES + compactSizeLength(parts.length));
  const writer = new ByteWriter(size);
  writer.bytes(headerBytes);
  writer.compactSize(parts.length);
  for (const part of parts) writer.bytes(part);
  return writer.done();
}

function openBlock(bytes: Uint8Array): { reader: ByteReader; count: number } {
  if (bytes.byteLength > MAX_BLOCK_BYTES) {
    throw new MalformedBytesError(`block is over ${MAX_BLOCK_BYTES} bytes`, MAX_BLOCK_BYTES);
  }
  const reader = new ByteReader(bytes);
  reader.bytes(HEADER_BYTES);
  return { reader, count: reader.count(LEAST_TRANSACTION_BYTES) };
}
