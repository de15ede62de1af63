import { HostError } from '../../contract/error.js';
import { parseTransaction, type Transaction, txid, vsize, wtxid } from '../../core/bitcoin/transaction.js';
import { hashToDisplay } from '../../core/bytes.js';
import type { MempoolVerdict } from '../node-api.js';
import { RPC, type RpcFailure } from './rpc-failure.js';

/** Scripts above this can never be spent. @see Bitcoin Core, script.h MAX_SCRIPT_SIZE */
const MAX_SCRIPT_BYTES = 10_000;

const OP_RETURN = 0x6a;

/** Words of the nodes for "I have it": a success of a submission. */
const KNOWN_REASONS = ['txn-already-in-mempool', 'txn-already-known', 'already have transaction'];

/** A transaction about to be submitted. */
export interface Submission {
  raw: Uint8Array;
  hex: string;
  transaction: Transaction;
  txid: Uint8Array;
  wtxid: Uint8Array;
  /** Txid as nodes print it. */
  id: string;
  vsize: number;
}

/** Decodes before anything is sent, so that a node never sees what is no transaction. @throws INVALID_REQUEST */
export function submissionOf(raw: Uint8Array): Submission {
  let transaction: Transaction;
  try {
    transaction = parseTransaction(raw);
  } catch (error) {
    throw new HostError('INVALID_REQUEST', 'the bytes are no transaction (BIP 144)', { cause: error });
  }
  const id = txid(transaction);
  return {
    raw,
    hex: Buffer.from(raw).toString('hex'),
    transaction,
    txid: id,
    wtxid: wtxid(transaction),
    id: hashToDisplay(id),
    vsize: vsize(transaction),
  };
}

/** True when the node's reason says that it has the transaction already. */
export function meansKnown(reason: string): boolean {
  const lower = reason.toLowerCase();
  return KNOWN_REASONS.some((known) => lower.includes(known));
}

/** A verdict of acceptance. */
export function accepted(
  submission: Submission,
  facts: { alreadyKnown: boolean; vsize?: number | undefined; feeSats?: bigint | undefined },
): MempoolVerdict {
  return {
    txid: submission.txid,
    wtxid: submission.wtxid,
    accepted: true,
    rejectReason: '',
    alreadyKnown: facts.alreadyKnown,
    vsize: facts.vsize ?? submission.vsize,
    feeSats: facts.feeSats ?? 0n,
  };
}

/** A verdict of refusal with the node's reason. */
export function refused(submission: Submission, rejectReason: string): MempoolVerdict {
  return {
    txid: submission.txid,
    wtxid: submission.wtxid,
    accepted: false,
    rejectReason,
    alreadyKnown: false,
    vsize: submission.vsize,
    feeSats: 0n,
  };
}

/** The largest amount that one output of the transaction burns: provably unspendable scripts alone. */
export function burnedSats(transaction: Transaction): bigint {
  let most = 0n;
  for (const { scriptPubkey, valueSats } of transaction.outputs) {
    const unspendable = scriptPubkey[0] === OP_RETURN || scriptPubkey.byteLength > MAX_SCRIPT_BYTES;
    if (unspendable && valueSats > most) most = valueSats;
  }
  return most;
}

/** @throws BURN_TOO_HIGH when an unspendable output carries more than `maxBurnSats` */
export function assertBurn(submission: Submission, maxBurnSats: bigint): void {
  const burned = burnedSats(submission.transaction);
  if (burned > maxBurnSats) {
    throw new HostError('BURN_TOO_HIGH', `an unspendable output burns ${burned} satoshis, ${maxBurnSats} are allowed`);
  }
}

/**
 * Tells the failures of `sendrawtransaction`.
 *
 * @returns `known` when the node has the transaction, in mempool or chain; else the error
 */
export function explainSubmission(failure: RpcFailure): HostError | 'known' | undefined {
  const { code, message } = failure;
  if (code === RPC.ALREADY_IN_CHAIN || meansKnown(message)) return 'known';
  if (code === RPC.DESERIALIZATION) return new HostError('INVALID_REQUEST', `the node cannot decode it: ${message}`);
  if (code !== RPC.VERIFY_ERROR && code !== RPC.VERIFY_REJECTED) return undefined;
  if (/maxburnamount|unspendable output exceeds/i.test(message)) return new HostError('BURN_TOO_HIGH', message);
  if (/max-fee-exceeded|fee exceeds maximum|maxfeerate|absurdly-high-fee/i.test(message)) {
    return new HostError('FEE_TOO_HIGH', message);
  }
  return new HostError('TRANSACTION_REJECTED', `the mempool refused the transaction: ${message}`, {
    details: { rejectReason: message },
  });
}
