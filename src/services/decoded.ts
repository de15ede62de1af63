import { type BlockHeader, type Transaction, TransactionFormat } from '../../gen/ts/modhost/v1/bitcoin.js';
import { HostError } from '../contract/error.js';
import { blockHash, parseHeader } from '../core/bitcoin/header.js';
import {
  outlineTransaction,
  outlineTxid,
  outlineWtxid,
  strippedBytes,
  type TransactionOutline,
} from '../core/bitcoin/outline.js';
import { MalformedBytesError } from '../core/bitcoin/reader.js';
import { MAX_TRANSACTION_BYTES, parseTransaction } from '../core/bitcoin/transaction.js';
import { equalBytes } from '../core/bytes.js';
import type { HeaderAt } from '../node/node-api.js';
import { requireBytes, requireKnown } from './check.js';

/** Bytes of one decoded transaction above which its witnesses are left out: 4 MiB less room for what surrounds it. */
export const MAX_DECODED_BYTES = 4 * 1024 * 1024 - 4096;

/**
 * Witness items of one decoded transaction above which its witnesses are left out. Each becomes an object that takes
 * about a microsecond, and a miner can make millions; no transaction that nodes relay comes near.
 */
export const MAX_WITNESS_ITEMS = 100_000;

/** Bytes of one batch or page, unless a single entry is larger; keeps buffers of slow readers small. */
export const MAX_BATCH_BYTES = 1024 * 1024;

/** Bytes that tags, lengths and small numbers of one entry take at most; only a bound is needed, not the exact size. */
const ENTRY_OVERHEAD_BYTES = 128;

/** A decoded transaction and the bytes that its message takes at most. */
export interface DecodedTransaction {
  transaction: Transaction;
  sizeBytes: number;
}

/** What `read` gives; bytes of the node that make no sense become NODE_ERROR. */
export function fromNode<T>(what: string, read: () => T): T {
  return decodeOr('NODE_ERROR', `the node's ${what} cannot be decoded`, read);
}

/** What `read` gives; bytes of a module that make no sense become INVALID_REQUEST. */
export function fromModule<T>(field: string, read: () => T): T {
  return decodeOr('INVALID_REQUEST', `${field} cannot be decoded`, read);
}

/** Outline of a transaction that a module sent. @throws FIELD_REQUIRED, OUT_OF_RANGE, INVALID_REQUEST */
export function transactionFromModule(raw: Uint8Array, field: string): TransactionOutline {
  return fromModule(field, () => outlineTransaction(requireBytes(raw, MAX_TRANSACTION_BYTES, field)));
}

/** The transaction as the contract has it, its witnesses left out when there is too much of them. */
export function toTransaction(outline: TransactionOutline): DecodedTransaction {
  const full = decodedSize(outline);
  const omitted = outline.witnessItems > MAX_WITNESS_ITEMS || full > MAX_DECODED_BYTES;
  const { version, inputs, outputs, lockTime } = parseTransaction(omitted ? strippedBytes(outline) : outline.raw);
  return {
    transaction: {
      txid: outlineTxid(outline),
      wtxid: outlineWtxid(outline),
      version,
      inputs,
      outputs,
      lockTime,
      weight: outline.weight,
      witnessOmitted: omitted,
    },
    sizeBytes: omitted ? decodedSize({ ...outline, witnessItems: 0, witnessBytes: 0 }) : full,
  };
}

/** A transaction of the node in the form asked for, and the bytes that it takes at most. @throws NODE_ERROR */
export function toBody(
  raw: Uint8Array,
  format: TransactionFormat,
): {
  body: { $case: 'raw'; value: Uint8Array } | { $case: 'decoded'; value: Transaction };
  sizeBytes: number;
} {
  if (format !== TransactionFormat.DECODED) {
    return { body: { $case: 'raw', value: raw }, sizeBytes: raw.byteLength + ENTRY_OVERHEAD_BYTES };
  }
  const { transaction, sizeBytes } = toTransaction(fromNode('transaction', () => outlineTransaction(raw)));
  return { body: { $case: 'decoded', value: transaction }, sizeBytes };
}

/** The format asked for, unspecified read as RAW. @throws UNKNOWN_ENUM */
export function transactionFormat(value: number): TransactionFormat {
  const { UNSPECIFIED, RAW, DECODED } = TransactionFormat;
  return requireKnown(value, [UNSPECIFIED, RAW, DECODED], 'format') || RAW;
}

/** The header as the contract has it. @throws NODE_ERROR when the node's 80 bytes are not those of the hash */
export function toHeader(at: HeaderAt): BlockHeader {
  const fields = fromNode('header', () => parseHeader(at.header));
  if (!equalBytes(blockHash(at.header), at.hash)) {
    throw new HostError('NODE_ERROR', 'the node gave a header that does not have the hash it gave');
  }
  return {
    hash: at.hash,
    height: at.height,
    header: at.header,
    confirmations: at.confirmations,
    txCount: at.txCount,
    fields,
  };
}

function decodeOr<T>(reason: 'NODE_ERROR' | 'INVALID_REQUEST', message: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof MalformedBytesError)) throw error;
    throw new HostError(reason, `${message}: ${error.message}`, { cause: error });
  }
}

/** Upper bound of the encoded message: fixed parts rounded up, and what the lengths of witness items may take. */
function decodedSize(outline: TransactionOutline): number {
  const { inputCount, outputCount, scriptBytes, witnessItems, witnessBytes } = outline;
  // A tag and a length of one byte each; lengths of more than that belong to items of at least 128 bytes.
  const witness = witnessBytes + 2 * witnessItems + Math.ceil(witnessBytes / 128);
  return ENTRY_OVERHEAD_BYTES + 64 * inputCount + 24 * outputCount + scriptBytes + witness;
}
