import { toHex } from '../../core/bytes.js';
import { type KnownTransaction, outpointKey } from './known-transaction.js';
import { isUnspendable } from './script.js';

/** One unspent output. */
export interface Coin {
  /** Key of the transaction that made it, see KnownTransaction. */
  txKey: string;
  index: number;
  valueSats: bigint;
  scriptPubkey: Uint8Array;
  /** Height of the block that made it. */
  height: number;
  coinbase: boolean;
}

/** Reads unspent outputs. */
export interface CoinReader {
  get(key: string): Coin | undefined;
}

/** Unspent outputs that can change. */
export interface CoinView extends CoinReader {
  add(coin: Coin): void;
  spend(key: string): void;
}

/** The unspent outputs of the active chain. */
export interface CoinSet extends CoinView {
  readonly size: number;
  /** Unspent outputs that pay one of the watched scripts, oldest first. */
  owned(scriptPubkey: Uint8Array): Iterable<Coin>;
}

/** Unspent outputs as they would be after some blocks; the set below is untouched until `commit`. */
export interface CoinOverlay extends CoinView {
  commit(): void;
}

/** Makes an empty set that keeps the outputs of `watched` scripts at hand. */
export function createCoinSet(watched: readonly Uint8Array[]): CoinSet {
  const coins = new Map<string, Coin>();
  const owned = new Map(watched.map((script) => [toHex(script), new Map<string, Coin>()]));
  return {
    get size() {
      return coins.size;
    },
    get: (key) => coins.get(key),
    add(coin) {
      const key = outpointKey(coin.txKey, coin.index);
      coins.set(key, coin);
      owned.get(toHex(coin.scriptPubkey))?.set(key, coin);
    },
    spend(key) {
      const coin = coins.get(key);
      coins.delete(key);
      if (coin !== undefined) owned.get(toHex(coin.scriptPubkey))?.delete(key);
    },
    owned: (script) => owned.get(toHex(script))?.values() ?? [],
  };
}

/** Makes an overlay without changes. */
export function createCoinOverlay(below: CoinView): CoinOverlay {
  const changes = new Map<string, Coin | undefined>();
  return {
    get: (key) => (changes.has(key) ? changes.get(key) : below.get(key)),
    add(coin) {
      changes.set(outpointKey(coin.txKey, coin.index), coin);
    },
    spend(key) {
      changes.set(key, undefined);
    },
    commit() {
      for (const [key, coin] of changes) {
        below.spend(key);
        if (coin !== undefined) below.add(coin);
      }
    },
  };
}

/** Adds the spendable outputs of a transaction. */
export function addOutputs(view: CoinView, known: KnownTransaction, height: number, coinbase: boolean): void {
  known.transaction.outputs.forEach((output, index) => {
    if (isUnspendable(output.scriptPubkey)) return;
    // A copy: a view would keep the whole block in memory for as long as the output is unspent.
    const scriptPubkey = Uint8Array.from(output.scriptPubkey);
    view.add({ txKey: known.key, index, valueSats: output.valueSats, scriptPubkey, height, coinbase });
  });
}

/** Takes a block out of a view: removes what its transactions made and gives back what they spent. */
export function disconnectCoins(
  view: CoinView,
  transactions: readonly KnownTransaction[],
  spent: readonly Coin[],
): void {
  for (const known of transactions) {
    for (let index = 0; index < known.transaction.outputs.length; index++) view.spend(outpointKey(known.key, index));
  }
  // An output made and spent within the block is in `spent` too, and must not come back.
  const made = new Set(transactions.map((known) => known.key));
  for (const coin of spent) {
    if (!made.has(coin.txKey)) view.add(coin);
  }
}
