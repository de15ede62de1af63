import { serializeTransaction, type Transaction, vsize } from '../../core/bitcoin/transaction.js';
import type { BlockTree } from './block-tree.js';
import type { Coin, CoinSet } from './coins.js';
import { outpointKey } from './known-transaction.js';
import { COINBASE_MATURITY_BLOCKS } from './params.js';
import type { Pool } from './pool.js';
import { feeAt } from './relay-policy.js';
import type { Wallet } from './wallet.js';

/** Fee rates of transactions that name none, satoshis per 1,000 virtual bytes: from 1 to 20 satoshis per byte. */
const LOWEST_RATE = 1_000;
const HIGHEST_RATE = 20_000;

/** Smallest coin worth splitting, satoshis: both halves and a fee stay far above dust. */
const LEAST_COIN_SATS = 100_000n;

/** What a transaction of the devchain's wallet shall look like. */
export interface SpendRequest {
  /** Satoshis per 1,000 virtual bytes; drawn between 1,000 and 20,000 when not given. */
  feeRateSatPerKvb?: bigint | undefined;
  /** Kind of the output spent; any when not given. */
  from?: 'p2tr' | 'p2wpkh' | undefined;
  /** Where half of the coin goes; a P2WPKH output of the wallet itself when not given. */
  scriptPubkey?: Uint8Array | undefined;
  /** Spends this output of the wallet's, confirmed or not; a matured unspent one is chosen when not given. */
  outpoint?: { txid: Uint8Array; index: number } | undefined;
}

/** What a spender is made of. */
export interface SpenderParts {
  wallet: Wallet;
  tree: BlockTree;
  coins: CoinSet;
  pool: () => Pool;
  random: (bytes: number) => Uint8Array;
}

/** Makes really signed transactions from the devchain's own coins. */
export interface Spender {
  /** A signed transaction with witness, or undefined when no matured coin fits. It is not submitted. */
  create(request: SpendRequest): Uint8Array | undefined;
}

/** Makes a spender. */
export function createSpender(parts: SpenderParts): Spender {
  const { wallet, tree, coins } = parts;

  return {
    create(request) {
      const coin = request.outpoint === undefined ? choose(request.from) : named(request.outpoint);
      if (coin === undefined || coin.valueSats < LEAST_COIN_SATS) return undefined;
      const rate = request.feeRateSatPerKvb ?? drawRate();
      const away = coin.valueSats / 2n;
      const unsigned = (feeSats: bigint): Transaction => ({
        version: 2,
        inputs: [
          {
            outpoint: { txid: new Uint8Array(Buffer.from(coin.txKey, 'hex')), index: coin.index },
            scriptSig: new Uint8Array(0),
            // Signals replaceability and leaves relative locks off (BIP 125, BIP 68).
            sequence: 0xffff_fffd,
            witness: [new Uint8Array(coin.scriptPubkey.length === 34 ? 64 : 72), ...placeholderKey(coin)],
          },
        ],
        outputs: [
          { valueSats: away, scriptPubkey: request.scriptPubkey ?? wallet.keyHashScript },
          { valueSats: coin.valueSats - away - feeSats, scriptPubkey: wallet.taprootScript },
        ],
        lockTime: 0,
      });
      const feeSats = feeAt(rate, vsize(unsigned(0n)));
      if (feeSats > coin.valueSats / 4n) return undefined;
      return serializeTransaction(wallet.sign(unsigned(feeSats), [coin]), { witness: true });
    },
  };

  function choose(from: SpendRequest['from']): Coin | undefined {
    const pool = parts.pool();
    const scripts = { p2tr: wallet.taprootScript, p2wpkh: wallet.keyHashScript };
    for (const script of from === undefined ? [scripts.p2wpkh, scripts.p2tr] : [scripts[from]]) {
      for (const coin of coins.owned(script)) {
        const mature = !coin.coinbase || tree.tip.height + 1 - coin.height >= COINBASE_MATURITY_BLOCKS;
        if (!mature || coin.valueSats < LEAST_COIN_SATS) continue;
        if (pool.spender(outpointKey(coin.txKey, coin.index)) === undefined) return coin;
      }
    }
    return undefined;
  }

  function named(outpoint: { txid: Uint8Array; index: number }): Coin | undefined {
    const key = outpointKey(Buffer.from(outpoint.txid).toString('hex'), outpoint.index);
    return parts
      .pool()
      .outputs(coins, tree.tip.height + 1)
      .get(key);
  }

  function drawRate(): bigint {
    const [high = 0, low = 0] = parts.random(2);
    return BigInt(LOWEST_RATE + ((high * 256 + low) % (HIGHEST_RATE - LOWEST_RATE + 1)));
  }
}

/** A P2WPKH witness holds the public key too; its length counts for the fee. */
function placeholderKey(coin: Coin): Uint8Array[] {
  return coin.scriptPubkey.length === 34 ? [] : [new Uint8Array(33)];
}
