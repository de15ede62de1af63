import { parseTransaction, type Transaction, txid, vsize, weight, wtxid } from '../../core/bitcoin/transaction.js';
import { toHex } from '../../core/bytes.js';

/** A transaction with everything that is derived from its bytes, worked out once. */
export interface KnownTransaction {
  transaction: Transaction;
  /** With witness. */
  raw: Uint8Array;
  txid: Uint8Array;
  wtxid: Uint8Array;
  /** The txid as a key of maps: hex in internal byte order. */
  key: string;
  weight: number;
  vsize: number;
}

/** Derives what a transaction is known by; `transaction` is the decoded form of `raw` when that is at hand. */
export function knownTransaction(raw: Uint8Array, transaction: Transaction = parseTransaction(raw)): KnownTransaction {
  const id = txid(transaction);
  return {
    transaction,
    raw,
    txid: id,
    wtxid: wtxid(transaction),
    key: toHex(id),
    weight: weight(transaction),
    vsize: vsize(transaction),
  };
}

/** An output reference as a key of maps. */
export function outpointKey(txidKey: string, index: number): string {
  return `${txidKey}:${index}`;
}
