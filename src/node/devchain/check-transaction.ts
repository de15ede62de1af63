import { isCoinbase, MAX_MONEY_SATS, type Transaction, WITNESS_SCALE_FACTOR } from '../../core/bitcoin/transaction.js';
import type { BlockNode, BlockTree } from './block-tree.js';
import type { Coin, CoinReader } from './coins.js';
import { type KnownTransaction, outpointKey } from './known-transaction.js';
import { COINBASE_MATURITY_BLOCKS, MAX_BLOCK_WEIGHT } from './params.js';
import { countSigops } from './script.js';
import { witnessSigops } from './verify-input.js';

// Reasons are Bitcoin Core's words throughout, so that who knows them from there knows them here.

/** Lock times from here on are Unix seconds, below they are heights. */
const LOCK_TIME_THRESHOLD = 500_000_000;

/** Sequence that makes an input final. */
const SEQUENCE_FINAL = 0xffff_ffff;

// Parts of a sequence (BIP 68).
const SEQUENCE_LOCK_DISABLED = 0x8000_0000;
const SEQUENCE_IN_SECONDS = 0x0040_0000;
const SEQUENCE_MASK = 0xffff;
const SEQUENCE_SECONDS_SHIFT = 9;

/** First value that Bitcoin Core, which reads amounts as signed, takes for a negative one. */
const FIRST_NEGATIVE = 1n << 63n;

/** What a transaction does, whatever the chain: a reason when it breaks a rule, else undefined. */
export function checkTransaction(known: KnownTransaction): string | undefined {
  const { inputs, outputs } = known.transaction;
  if (inputs.length === 0) return 'bad-txns-vin-empty';
  if (outputs.length === 0) return 'bad-txns-vout-empty';
  if (strippedSize(known) * WITNESS_SCALE_FACTOR > MAX_BLOCK_WEIGHT) return 'bad-txns-oversize';
  let total = 0n;
  for (const output of outputs) {
    if (output.valueSats >= FIRST_NEGATIVE) return 'bad-txns-vout-negative';
    if (output.valueSats > MAX_MONEY_SATS) return 'bad-txns-vout-toolarge';
    total += output.valueSats;
    if (total > MAX_MONEY_SATS) return 'bad-txns-txouttotal-toolarge';
  }
  const seen = new Set(inputs.map(({ outpoint }) => outpointOf(outpoint)));
  if (seen.size !== inputs.length) return 'bad-txns-inputs-duplicate';
  if (isCoinbase(known.transaction)) {
    const length = inputs[0]?.scriptSig.length ?? 0;
    return length < 2 || length > 100 ? 'bad-cb-length' : undefined;
  }
  const empty = inputs.some(
    ({ outpoint }) => outpoint.index === 0xffff_ffff && outpoint.txid.every((byte) => byte === 0),
  );
  return empty ? 'bad-txns-prevout-null' : undefined;
}

/** Bytes without witness. */
export function strippedSize(known: KnownTransaction): number {
  return (known.weight - known.raw.byteLength) / (WITNESS_SCALE_FACTOR - 1);
}

/** Key of the output that an input spends. */
export function outpointOf(outpoint: { txid: Uint8Array; index: number }): string {
  return outpointKey(Buffer.from(outpoint.txid).toString('hex'), outpoint.index);
}

/** True when the lock time lets the transaction into a block of this height after this median time (BIP 113). */
export function isFinal(transaction: Transaction, height: number, medianTimeUnixS: number): boolean {
  const { lockTime } = transaction;
  const reached = lockTime < LOCK_TIME_THRESHOLD ? height : medianTimeUnixS;
  return lockTime < reached || lockTime === 0 || transaction.inputs.every((i) => i.sequence === SEQUENCE_FINAL);
}

/**
 * True when the relative lock times let the transaction into the block after `parent`.
 *
 * @param coins what the inputs spend, in their order; unconfirmed ones with the height of the coming block
 * @see   BIP 68
 */
export function sequenceLocksMet(
  transaction: Transaction,
  coins: readonly Coin[],
  parent: BlockNode,
  tree: BlockTree,
): boolean {
  if (transaction.version < 2) return true;
  return transaction.inputs.every((input, index) => {
    const { sequence } = input;
    const coin = coins[index];
    if (coin === undefined || (sequence & SEQUENCE_LOCK_DISABLED) !== 0) return true;
    const amount = sequence & SEQUENCE_MASK;
    if ((sequence & SEQUENCE_IN_SECONDS) === 0) return coin.height + amount <= parent.height + 1;
    const before = tree.ancestor(parent, Math.max(coin.height - 1, 0)) ?? parent;
    return before.medianTimeUnixS + amount * 2 ** SEQUENCE_SECONDS_SHIFT <= parent.medianTimeUnixS;
  });
}

/** What a transaction spends and pays, or why it may not. */
export type InputsVerdict = { reason: string } | { reason?: undefined; coins: Coin[]; feeSats: bigint };

/** Checks that the inputs are there, mature and worth what the outputs pay, for a block of this height. */
export function checkInputs(known: KnownTransaction, view: CoinReader, height: number): InputsVerdict {
  const coins: Coin[] = [];
  let total = 0n;
  for (const { outpoint } of known.transaction.inputs) {
    const coin = view.get(outpointOf(outpoint));
    if (coin === undefined) return { reason: 'bad-txns-inputs-missingorspent' };
    coins.push(coin);
  }
  for (const coin of coins) {
    if (coin.coinbase && height - coin.height < COINBASE_MATURITY_BLOCKS) {
      return { reason: 'bad-txns-premature-spend-of-coinbase' };
    }
    total += coin.valueSats;
    if (total > MAX_MONEY_SATS) return { reason: 'bad-txns-inputvalues-outofrange' };
  }
  const paid = known.transaction.outputs.reduce((sum, output) => sum + output.valueSats, 0n);
  return total < paid ? { reason: 'bad-txns-in-belowout' } : { coins, feeSats: total - paid };
}

/** Signature operations of the scripts that a transaction carries, before the weight of four each. */
export function ownSigops(transaction: Transaction): number {
  let count = 0;
  for (const input of transaction.inputs) count += countSigops(input.scriptSig);
  for (const output of transaction.outputs) count += countSigops(output.scriptPubkey);
  return count;
}

/** Signature operation cost of a transaction (BIP 141); pay to script hash adds none, as its spends are refused. */
export function sigopCost(transaction: Transaction, coins: readonly Coin[]): number {
  const witness = coins.reduce((sum, coin) => sum + witnessSigops(coin), 0);
  return ownSigops(transaction) * WITNESS_SCALE_FACTOR + witness;
}
