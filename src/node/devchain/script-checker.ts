import { toHex } from '../../core/bytes.js';
import type { Coin } from './coins.js';
import type { KnownTransaction } from './known-transaction.js';
import type { Pacer } from './pacer.js';
import { createSighashSource } from './sighash.js';
import { type ScriptVerdict, verifyInput } from './verify-input.js';

/** Transactions remembered as verified: far more than a block holds, some MiB at most; the oldest are forgotten. */
const MAX_REMEMBERED = 20_000;

/** Verifies the scripts of whole transactions and remembers which were valid. */
export interface ScriptChecker {
  /** @param coins what the inputs spend, in their order @param relay hold the rules of relay too */
  verify(known: KnownTransaction, coins: readonly Coin[], relay: boolean): Promise<ScriptVerdict>;
}

/** Makes a checker that remembers nothing yet and gives the event loop its turns between inputs. */
export function createScriptChecker(pacer: Pacer): ScriptChecker {
  // By wtxid: it fixes the witness, and through the outpoints the scripts and amounts that are spent.
  // The value tells whether the rules of relay were held as well.
  const verified = new Map<string, boolean>();
  return {
    async verify(known, coins, relay) {
      const key = toHex(known.wtxid);
      const before = verified.get(key);
      if (before === true || (before === false && !relay)) return { status: 'valid' };
      const sighash = createSighashSource(known.transaction, coins);
      for (let index = 0; index < known.transaction.inputs.length; index++) {
        await pacer.pause();
        const verdict = verifyInput(known.transaction, index, coins, relay, sighash);
        if (verdict.status !== 'valid') return verdict;
      }
      verified.set(key, relay);
      const [oldest] = verified.size > MAX_REMEMBERED ? verified.keys() : [];
      if (oldest !== undefined) verified.delete(oldest);
      return { status: 'valid' };
    },
  };
}
