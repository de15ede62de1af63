import { isCoinbase } from '../../core/bitcoin/transaction.js';
import type { BlockTree } from './block-tree.js';
import {
  checkInputs,
  checkTransaction,
  isFinal,
  outpointOf,
  sequenceLocksMet,
  sigopCost,
} from './check-transaction.js';
import type { CoinReader } from './coins.js';
import { type KnownTransaction, outpointKey } from './known-transaction.js';
import type { Pool, PoolEntry } from './pool.js';
import {
  checkRelay,
  feeAt,
  MAX_CHAIN_TRANSACTIONS,
  MAX_CHAIN_VBYTES,
  MAX_MEMPOOL_VBYTES,
  MAX_RELAY_SIGOPS_COST,
  MAX_REPLACED,
} from './relay-policy.js';
import type { ScriptChecker } from './script-checker.js';

/** What the mempool stands on. */
export interface AcceptContext {
  tree: BlockTree;
  coins: CoinReader;
  scripts: ScriptChecker;
  minRelaySatPerKvb: bigint;
}

/** Whether a transaction may enter a pool: why not, or that it is there, or the entry and what it pushes out. */
export type AcceptVerdict =
  | { outcome: 'rejected'; reason: string }
  | { outcome: 'known'; entry: PoolEntry }
  | { outcome: 'acceptable'; entry: PoolEntry; replaced: ReadonlySet<PoolEntry> };

/**
 * Tells whether a transaction may enter the pool on top of the active chain, changing nothing.
 *
 * @param returning  true for a transaction that a reorganisation gives back: the fee bounds do not apply
 * @returns          reasons in Bitcoin Core's words, and `non-verifiable-script` when it spends a script that the
 *                   devchain cannot verify
 */
export async function acceptTransaction(
  known: KnownTransaction,
  pool: Pool,
  context: AcceptContext,
  timeUnixS: number,
  returning: boolean,
): Promise<AcceptVerdict> {
  const present = pool.entries.get(known.key);
  if (present !== undefined) {
    const same = Buffer.compare(present.known.wtxid, known.wtxid) === 0;
    return same ? { outcome: 'known', entry: present } : rejected('txn-same-nonwitness-data-in-mempool');
  }
  if (isCoinbase(known.transaction)) return rejected('coinbase');
  const formal = checkTransaction(known) ?? checkRelay(known);
  if (formal !== undefined) return rejected(formal);
  const { tip } = context.tree;
  if (!isFinal(known.transaction, tip.height + 1, tip.medianTimeUnixS)) return rejected('non-final');

  const inputs = checkInputs(known, pool.outputs(context.coins, tip.height + 1), tip.height + 1);
  if (inputs.reason !== undefined) {
    return rejected(isConfirmed(known, context.coins) ? 'txn-already-known' : inputs.reason);
  }
  if (!sequenceLocksMet(known.transaction, inputs.coins, tip, context.tree)) return rejected('non-BIP68-final');
  const sigops = sigopCost(known.transaction, inputs.coins);
  if (sigops > MAX_RELAY_SIGOPS_COST) return rejected('bad-txns-too-many-sigops');
  const { feeSats } = inputs;
  if (!returning && feeSats < feeAt(context.minRelaySatPerKvb, known.vsize)) return rejected('min relay fee not met');

  const replaced = new Set<PoolEntry>();
  const conflicts = directConflicts(known, pool);
  for (const conflict of conflicts) for (const entry of pool.withDescendants(conflict)) replaced.add(entry);
  const ancestors = pool.ancestors(known);
  const reason =
    checkReplacement(known, feeSats, conflicts, replaced, ancestors, pool, context) ??
    checkLine(known, ancestors, replaced, pool);
  if (reason !== undefined) return rejected(reason);
  if (pool.vbytes + known.vsize > MAX_MEMPOOL_VBYTES) return rejected('mempool full');

  const scripts = await context.scripts.verify(known, inputs.coins, true);
  if (scripts.status === 'unsupported') return rejected('non-verifiable-script');
  if (scripts.status === 'invalid') return rejected(`mempool-script-verify-flag-failed (${scripts.detail})`);
  return { outcome: 'acceptable', entry: { known, feeSats, timeUnixS, sigops }, replaced };
}

function directConflicts(known: KnownTransaction, pool: Pool): Set<PoolEntry> {
  const conflicts = new Set<PoolEntry>();
  for (const { outpoint } of known.transaction.inputs) {
    const spender = pool.spender(outpointOf(outpoint));
    if (spender !== undefined) conflicts.add(spender);
  }
  return conflicts;
}

/** Replacement by BIP 125 without signalling: more fee in all, enough for its own relay, and a better rate. */
function checkReplacement(
  known: KnownTransaction,
  feeSats: bigint,
  conflicts: ReadonlySet<PoolEntry>,
  replaced: ReadonlySet<PoolEntry>,
  ancestors: ReadonlySet<PoolEntry>,
  pool: Pool,
  context: AcceptContext,
): string | undefined {
  if (conflicts.size === 0) return undefined;
  if ([...ancestors].some((entry) => replaced.has(entry))) return 'bad-txns-spends-conflicting-tx';
  if (replaced.size > MAX_REPLACED) return 'too many potential replacements';
  const parentsBefore = new Set([...conflicts].flatMap((entry) => pool.parents(entry.known)));
  if (pool.parents(known).some((parent) => !parentsBefore.has(parent))) return 'replacement-adds-unconfirmed';
  let evictedFees = 0n;
  for (const entry of replaced) evictedFees += entry.feeSats;
  const worseRate = [...conflicts].some(
    (entry) => feeSats * BigInt(entry.known.vsize) <= entry.feeSats * BigInt(known.vsize),
  );
  const enough = feeSats >= evictedFees + feeAt(context.minRelaySatPerKvb, known.vsize);
  return worseRate || !enough ? 'insufficient fee' : undefined;
}

/** Bounds of the lines of ancestors and descendants that the transaction would lengthen. */
function checkLine(
  known: KnownTransaction,
  ancestors: ReadonlySet<PoolEntry>,
  replaced: ReadonlySet<PoolEntry>,
  pool: Pool,
): string | undefined {
  const fits = (line: Iterable<PoolEntry>): boolean => {
    let count = 1;
    let vbytes = known.vsize;
    for (const entry of line) {
      if (replaced.has(entry)) continue;
      count += 1;
      vbytes += entry.known.vsize;
    }
    return count <= MAX_CHAIN_TRANSACTIONS && vbytes <= MAX_CHAIN_VBYTES;
  };
  if (!fits(ancestors)) return 'too-long-mempool-chain';
  for (const ancestor of ancestors) {
    if (!fits(pool.withDescendants(ancestor))) return 'too-long-mempool-chain';
  }
  return undefined;
}

function isConfirmed(known: KnownTransaction, coins: CoinReader): boolean {
  return known.transaction.outputs.some((_, index) => coins.get(outpointKey(known.key, index)) !== undefined);
}

function rejected(reason: string): AcceptVerdict {
  return { outcome: 'rejected', reason };
}
