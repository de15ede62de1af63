import type { BlockNode, BlockTree } from './block-tree.js';
import type { KnownBlock } from './check-block.js';
import { checkInputs, sequenceLocksMet, sigopCost } from './check-transaction.js';
import { addOutputs, type Coin, type CoinView } from './coins.js';
import { outpointKey } from './known-transaction.js';
import type { Pacer } from './pacer.js';
import { MAX_BLOCK_SIGOPS_COST, subsidyAt } from './params.js';
import type { ScriptChecker } from './script-checker.js';

/** What a block spends, or why it cannot be connected. */
export type ConnectVerdict = { reason: string } | { reason?: undefined; spent: Coin[] };

/** What connecting a block needs to know. */
export interface ConnectContext {
  tree: BlockTree;
  pacer: Pacer;
  /** Undefined for blocks read back from the own store, whose scripts were verified before they were written. */
  scripts: ScriptChecker | undefined;
}

/**
 * Connects a block whose form was checked to a view of the unspent outputs: every input there, mature, unlocked and
 * signed, every amount in range, the coinbase within subsidy and fees. When it fails the view is half changed.
 *
 * @returns a reason in Bitcoin Core's words; `devchain-unsupported-script` when an input spends a script that the
 *          devchain cannot verify, which says nothing about its validity
 */
export async function connectBlock(
  block: KnownBlock,
  parent: BlockNode,
  view: CoinView,
  context: ConnectContext,
): Promise<ConnectVerdict> {
  const height = parent.height + 1;
  const spent: Coin[] = [];
  let fees = 0n;
  let sigops = 0;
  for (const known of block.transactions) {
    const exists = known.transaction.outputs.some((_, index) => view.get(outpointKey(known.key, index)) !== undefined);
    if (exists) return { reason: 'bad-txns-BIP30' };
  }
  for (const [index, known] of block.transactions.entries()) {
    await context.pacer.pause();
    const coinbase = index === 0;
    let coins: Coin[] = [];
    if (!coinbase) {
      const inputs = checkInputs(known, view, height);
      if (inputs.reason !== undefined) return inputs;
      coins = inputs.coins;
      fees += inputs.feeSats;
      if (!sequenceLocksMet(known.transaction, coins, parent, context.tree)) return { reason: 'bad-txns-nonfinal' };
      const verdict = await context.scripts?.verify(known, coins, false);
      if (verdict?.status === 'invalid') return { reason: `block-script-verify-flag-failed (${verdict.detail})` };
      if (verdict?.status === 'unsupported') return { reason: 'devchain-unsupported-script' };
      for (const coin of coins) view.spend(outpointKey(coin.txKey, coin.index));
      spent.push(...coins);
    }
    sigops += sigopCost(known.transaction, coins);
    if (sigops > MAX_BLOCK_SIGOPS_COST) return { reason: 'bad-blk-sigops' };
    addOutputs(view, known, height, coinbase);
  }
  const minted = block.transactions[0]?.transaction.outputs.reduce((sum, output) => sum + output.valueSats, 0n) ?? 0n;
  return minted > subsidyAt(height) + fees ? { reason: 'bad-cb-amount' } : { spent };
}
