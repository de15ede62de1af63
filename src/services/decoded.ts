import { type BlockHeader, type Transaction, TransactionFormat } from '../../gen/ts/modhost/v1/bitcoin.js';
import { HostError } from '../contract/error.js';
import { blockHash, parseHeader } from '../core/bitcoin/header.js';
import { MalformedBytesError } from '../core/bitcoin/reader.js';
import {
  MAX_TRANSACTION_BYTES,
  type Transaction as Parsed,
  parseTransaction,
  txid,
  weight,
  wtxid,
} from '../core/bitcoin/transaction.js';
import { equalBytes } from '../core/bytes.js';
import type { HeaderAt } from '../node/node-api.js';
import { requireBytes, requireKnown } from './check.js';

/** Bytes of one decoded transaction above which its witnesses are left out: 4 MiB less room for what surrounds it. */
export const MAX_DECODED_BYTES = 4 * 1024 * 1024 - 4096;

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

/** A transaction that a module sent, known to be one. @throws FIELD_REQUIRED, OUT_OF_RANGE, INVALID_REQUEST */
export function transactionFromModule(raw: Uint8Array, field: string): Parsed {
  return fromModule(field, () => parseTransaction(requireBytes(raw, MAX_TRANSACTION_BYTES, field)));
}

/** The transaction as the contract has it, its witnesses left out when it would not fit into one message. */
export function toTransaction(parsed: Parsed): DecodedTransaction {
  const full = decodedSize(parsed, true);
  const omitted = full > MAX_DECODED_BYTES;
  return {
    transaction: {
      txid: txid(parsed),
      wtxid: wtxid(parsed),
      version: parsed.version,
      inputs: omitted ? parsed.inputs.map((input) => ({ ...input, witness: [] })) : parsed.inputs,
      outputs: parsed.outputs,
      lockTime: parsed.lockTime,
      weight: weight(parsed),
      witnessOmitted: omitted,
    },
    sizeBytes: omitted ? decodedSize(parsed, false) : full,
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
  const { transaction, sizeBytes } = toTransaction(fromNode('transaction', () => parseTransaction(raw)));
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

/** Upper bound of the encoded message: fixed parts rounded up, tag and length counted for each byte field. */
function decodedSize(parsed: Parsed, witness: boolean): number {
  let size = ENTRY_OVERHEAD_BYTES;
  for (const input of parsed.inputs) {
    size += 64 + input.scriptSig.byteLength;
    if (witness) for (const item of input.witness) size += fieldSize(item.byteLength);
  }
  for (const output of parsed.outputs) size += 24 + output.scriptPubkey.byteLength;
  return size;
}

function fieldSize(length: number): number {
  if (length < 0x80) return length + 2;
  if (length < 0x4000) return length + 3;
  return length + 5;
}
