import type { TransactionOutput } from '../../core/bitcoin/transaction.js';
import { compactSizeLength } from '../../core/bitcoin/writer.js';
import { strippedSize } from './check-transaction.js';
import type { KnownTransaction } from './known-transaction.js';
import { isReturnOfPushes, isUnspendable, scriptKind, witnessProgram } from './script.js';

// What Bitcoin Core relays beyond what blocks may hold. Where its releases differ, the narrower rule stands here: what
// this mempool takes, theirs takes.

/** Rate below which nothing enters, satoshis per 1,000 virtual bytes; also what a replacement adds at least. */
export const DEFAULT_MIN_RELAY_SAT_PER_KVB = 1_000n;

/** Largest transaction relayed, weight units. */
const MAX_RELAY_WEIGHT = 400_000;

/** Smallest transaction relayed, bytes without witness: 64 could pass for a node of the hash tree. */
const MIN_RELAY_BYTES = 65;

/** Highest transaction version relayed; version 3 has rules of its own, which this mempool does not have. */
const MAX_RELAY_VERSION = 2;

/** Signature operation cost of a relayed transaction. */
export const MAX_RELAY_SIGOPS_COST = 16_000;

/** Longest OP_RETURN script relayed, bytes, and how many of them. */
const MAX_RETURN_SCRIPT_BYTES = 83;
const MAX_RETURN_OUTPUTS = 1;

/** Transactions in a line of unconfirmed ancestors or descendants, the transaction itself included. */
export const MAX_CHAIN_TRANSACTIONS = 25;

/** Virtual bytes of such a line. */
export const MAX_CHAIN_VBYTES = 101_000;

/** Transactions that one replacement may evict, descendants included. */
export const MAX_REPLACED = 100;

/** Virtual bytes of the whole mempool: hours of full blocks, and tens of MiB of memory. */
export const MAX_MEMPOOL_VBYTES = 20_000_000;

/** Transactions of a package, and its weight (BIP 331). */
export const MAX_PACKAGE_TRANSACTIONS = 25;
export const MAX_PACKAGE_WEIGHT = 404_000;

/** An output is dust when spending it at this rate costs more than it holds, satoshis per 1,000 virtual bytes. */
const DUST_SAT_PER_KVB = 3_000n;
const WITNESS_SPEND_VBYTES = 67;
const LEGACY_SPEND_VBYTES = 148;

/** Fee of a size at a rate, satoshis, rounded up. */
export function feeAt(satPerKvb: bigint, vsize: number): bigint {
  return (satPerKvb * BigInt(vsize) + 999n) / 1_000n;
}

/** Rules of relay that concern the transaction alone: a reason when it breaks one, else undefined. */
export function checkRelay(known: KnownTransaction): string | undefined {
  const { version, outputs } = known.transaction;
  if (version < 1 || version > MAX_RELAY_VERSION) return 'version';
  if (known.weight > MAX_RELAY_WEIGHT) return 'tx-size';
  if (strippedSize(known) < MIN_RELAY_BYTES) return 'tx-size-small';
  let returns = 0;
  for (const output of outputs) {
    const kind = scriptKind(output.scriptPubkey);
    if (kind === 'unspendable') {
      if (!isReturnOfPushes(output.scriptPubkey)) return 'scriptpubkey';
      returns += 1;
      if (returns > MAX_RETURN_OUTPUTS) return 'multi-op-return';
      if (output.scriptPubkey.length > MAX_RETURN_SCRIPT_BYTES) return 'datacarrier';
    } else if (kind === 'other' || kind === 'anyone') {
      return 'scriptpubkey';
    } else if (output.valueSats < dustLimit(output)) {
      return 'dust';
    }
  }
  return undefined;
}

/** Satoshis in outputs that nobody can ever spend. */
export function burnedSats(known: KnownTransaction): bigint {
  return known.transaction.outputs.reduce(
    (sum, output) => (isUnspendable(output.scriptPubkey) ? sum + output.valueSats : sum),
    0n,
  );
}

function dustLimit(output: TransactionOutput): bigint {
  const { scriptPubkey } = output;
  const spend = witnessProgram(scriptPubkey) === undefined ? LEGACY_SPEND_VBYTES : WITNESS_SPEND_VBYTES;
  return feeAt(DUST_SAT_PER_KVB, 8 + compactSizeLength(scriptPubkey.length) + scriptPubkey.length + spend);
}
