import { hash256 } from '../core/bitcoin/hash.js';
import { merkleRoot } from '../core/bitcoin/merkle.js';
import { HASH_BYTES } from '../core/bytes.js';
import type { BlockTemplate, TemplateTransaction } from '../node/block-template.js';

/** Bytes of one template: 4 MiB that stock clients accept, less room for the message around it. */
export const MAX_TEMPLATE_BYTES = 4 * 1024 * 1024 - 4096;

/** Bytes of a template without its transactions, at most. */
const FIXED_BYTES = 512;
/** Bytes of a transaction besides its raw form and its dependencies, at most: two ids, numbers, tags and lengths. */
const TRANSACTION_OVERHEAD_BYTES = 112;
/** Bytes of one dependency, at most. */
const DEPENDENCY_BYTES = 5;

/** OP_RETURN, push of 36 bytes, and the mark of a witness commitment (BIP 141). */
const COMMITMENT_PREFIX = Uint8Array.of(0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed);

/** A template that fits into one message. */
export interface FittedTemplate extends BlockTemplate {
  /** Transactions left off its end. */
  omittedCount: number;
}

/**
 * The template as it is, or, when it would not fit into one message, without as many transactions of its end as
 * needed. Nothing in a template depends on what comes after it, so the rest is a template as well, with its fees and
 * its witness commitment reckoned anew.
 */
export function fitTemplate(template: BlockTemplate): FittedTemplate {
  let size = FIXED_BYTES + template.witnessCommitmentScript.byteLength;
  let kept = 0;
  for (const transaction of template.transactions) {
    size += transaction.raw.byteLength + TRANSACTION_OVERHEAD_BYTES + DEPENDENCY_BYTES * transaction.depends.length;
    if (size > MAX_TEMPLATE_BYTES) break;
    kept += 1;
  }
  const omitted = template.transactions.slice(kept);
  if (omitted.length === 0) return { ...template, omittedCount: 0 };
  const transactions = template.transactions.slice(0, kept);
  const lostFees = omitted.reduce((sum, transaction) => sum + transaction.feeSats, 0n);
  const committed = template.witnessCommitmentScript.byteLength > 0;
  return {
    ...template,
    transactions,
    coinbaseValueSats: template.coinbaseValueSats - lostFees,
    witnessCommitmentScript: committed ? witnessCommitmentScript(transactions) : template.witnessCommitmentScript,
    omittedCount: omitted.length,
  };
}

/** scriptPubKey that commits to the witnesses, with a reserved value of 32 zero bytes (BIP 141, "Commitment structure"). */
export function witnessCommitmentScript(transactions: readonly Pick<TemplateTransaction, 'wtxid'>[]): Uint8Array {
  // The coinbase counts as 32 zero bytes, since its own witness holds the reserved value.
  const root = merkleRoot([new Uint8Array(HASH_BYTES), ...transactions.map((transaction) => transaction.wtxid)]);
  const preimage = new Uint8Array(2 * HASH_BYTES);
  preimage.set(root, 0);
  return Uint8Array.from([...COMMITMENT_PREFIX, ...hash256(preimage)]);
}
