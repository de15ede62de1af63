import { HostError } from '../../contract/error.js';
import { MalformedBytesError } from '../../core/bitcoin/reader.js';
import { toHex } from '../../core/bytes.js';
import type { Clock } from '../../core/clock.js';
import type { MempoolVerdict, NodeEvent, RemovalReason, SubmitOptions } from '../node-api.js';
import { type AcceptContext, type AcceptVerdict, acceptTransaction } from './accept-transaction.js';
import type { ChainChange } from './chainstate.js';
import { outpointOf } from './check-transaction.js';
import { type KnownTransaction, knownTransaction } from './known-transaction.js';
import type { Pacer } from './pacer.js';
import { createPool, type Pool, type PoolEntry } from './pool.js';
import { burnedSats, MAX_PACKAGE_TRANSACTIONS, MAX_PACKAGE_WEIGHT } from './relay-policy.js';

/**
 * Unconfirmed transactions under Bitcoin Core's rules of relay, kept in memory alone: a restart empties it. Calls that
 * change it must not overlap with each other or with changes of the chain.
 */
export interface Mempool {
  readonly pool: Pool;
  /** @throws FEE_TOO_HIGH, BURN_TOO_HIGH, TRANSACTION_REJECTED, INVALID_REQUEST */
  submit(raw: Uint8Array, options: SubmitOptions): Promise<MempoolVerdict>;
  /**
   * Submits parents before their one child; each pays the minimum rate for itself.
   * @throws FEE_TOO_HIGH, BURN_TOO_HIGH, TRANSACTION_REJECTED (the package as such), INVALID_REQUEST; nothing entered
   */
  submitPackage(raws: readonly Uint8Array[], options: SubmitOptions): Promise<MempoolVerdict[]>;
  /** Tells what submitting one after the other would say, changing nothing. @throws INVALID_REQUEST */
  test(raws: readonly Uint8Array[], options: SubmitOptions): Promise<MempoolVerdict[]>;
  /**
   * Follows a move of the tip: confirmed and conflicting transactions leave, those of disconnected blocks come back
   * while they are still valid.
   */
  follow(change: ChainChange): Promise<void>;
}

/** What a mempool is made of. */
export interface MempoolParts extends AcceptContext {
  clock: Clock;
  pacer: Pacer;
  /** Hears TransactionAdded and TransactionRemoved. */
  tell(event: NodeEvent): void;
}

/** Makes an empty mempool. */
export function createMempool(parts: MempoolParts): Mempool {
  let pool = createPool();
  const nowUnixS = (): number => Math.floor(parts.clock.unixMs() / 1000);
  const judge = (known: KnownTransaction, into: Pool): Promise<AcceptVerdict> =>
    acceptTransaction(known, into, parts, nowUnixS(), false);

  return {
    get pool() {
      return pool;
    },

    async submit(raw, options) {
      const known = decode(raw);
      assertBurn(known, options);
      const verdict = await judge(known, pool);
      if (verdict.outcome === 'rejected') throw refusal(verdict.reason);
      if (verdict.outcome === 'acceptable') {
        assertFee(verdict.entry, options);
        enter(verdict);
      }
      return mempoolVerdict(known, verdict);
    },

    async submitPackage(raws, options) {
      const knowns = raws.map(decode);
      const shape = checkPackage(knowns);
      if (shape !== undefined) throw refusal(shape);
      for (const known of knowns) assertBurn(known, options);
      const trial = pool.clone();
      for (const known of knowns) {
        const verdict = await judge(known, trial);
        if (verdict.outcome !== 'acceptable') continue;
        assertFee(verdict.entry, options);
        enterPool(trial, verdict);
      }
      const verdicts: MempoolVerdict[] = [];
      for (const known of knowns) {
        const verdict = await judge(known, pool);
        if (verdict.outcome === 'acceptable') enter(verdict);
        verdicts.push(mempoolVerdict(known, verdict));
      }
      return verdicts;
    },

    async test(raws, options) {
      if (raws.length > MAX_PACKAGE_TRANSACTIONS) {
        throw new HostError('INVALID_REQUEST', `at most ${MAX_PACKAGE_TRANSACTIONS} transactions are tested at once`);
      }
      const knowns = raws.map(decode);
      const trial = knowns.length > 1 ? pool.clone() : pool;
      const verdicts: MempoolVerdict[] = [];
      for (const known of knowns) {
        let verdict = await judge(known, trial);
        if (burnedSats(known) > options.maxBurnSats) verdict = { outcome: 'rejected', reason: 'max-burn-exceeded' };
        else if (verdict.outcome === 'acceptable' && overFee(verdict.entry, options)) {
          verdict = { outcome: 'rejected', reason: 'max-fee-exceeded' };
        }
        if (verdict.outcome === 'acceptable' && trial !== pool) enterPool(trial, verdict);
        verdicts.push(mempoolVerdict(known, verdict));
      }
      return verdicts;
    },

    follow: (change) => (change.disconnected.length === 0 ? followConnects(change) : rebuild(change)),
  };

  function enter(verdict: Extract<AcceptVerdict, { outcome: 'acceptable' }>): void {
    for (const entry of verdict.replaced) leave(entry, 'replaced');
    pool.add(verdict.entry);
    tellAdded(verdict.entry);
  }

  function leave(entry: PoolEntry, reason: RemovalReason): void {
    pool.remove(entry);
    parts.tell({ type: 'TransactionRemoved', txid: entry.known.txid, reason, mempoolCount: pool.entries.size });
  }

  function tellAdded(entry: PoolEntry): void {
    const { known, feeSats } = entry;
    const mempoolCount = pool.entries.size;
    parts.tell({ type: 'TransactionAdded', txid: known.txid, feeSats, vsize: known.vsize, mempoolCount });
  }

  async function followConnects(change: ChainChange): Promise<void> {
    for (const { block } of change.connected) {
      for (const known of block.transactions.slice(1)) {
        const confirmed = pool.entries.get(known.key);
        if (confirmed !== undefined) leave(confirmed, 'confirmed');
        for (const { outpoint } of known.transaction.inputs) {
          const conflict = pool.spender(outpointOf(outpoint));
          if (conflict === undefined) continue;
          for (const entry of [...pool.withDescendants(conflict)].reverse()) leave(entry, 'conflict');
        }
      }
    }
  }

  /** After disconnects anything may have changed: every transaction, old and given back, enters a new pool by the rules. */
  async function rebuild(change: ChainChange): Promise<void> {
    const confirmed = new Set<string>();
    const spent = new Set<string>();
    for (const { block } of change.connected) {
      for (const known of block.transactions.slice(1)) {
        confirmed.add(known.key);
        for (const { outpoint } of known.transaction.inputs) spent.add(outpointOf(outpoint));
      }
    }
    const back = [...change.disconnected].reverse().flatMap(({ block }) => block.transactions.slice(1));
    const before = pool;
    const next = createPool();
    for (const entry of [...back.map((known) => ({ known, timeUnixS: nowUnixS() })), ...before.entries.values()]) {
      await parts.pacer.pause();
      if (confirmed.has(entry.known.key)) continue;
      const verdict = await acceptTransaction(entry.known, next, parts, entry.timeUnixS, true);
      if (verdict.outcome === 'acceptable') enterPool(next, verdict);
    }
    const gone = [...before.entries.values()].filter((entry) => !next.entries.has(entry.known.key));
    const conflicting = new Set(
      gone
        .filter((entry) => entry.known.transaction.inputs.some(({ outpoint }) => spent.has(outpointOf(outpoint))))
        .flatMap((entry) => [...before.withDescendants(entry)]),
    );
    // Told one by one on the old pool, so that each count is the one after that very step.
    for (const entry of gone.reverse()) {
      leave(entry, confirmed.has(entry.known.key) ? 'confirmed' : conflicting.has(entry) ? 'conflict' : 'rejected');
    }
    const added = [...next.entries.values()].filter((entry) => !before.entries.has(entry.known.key));
    const counts = before.entries.size;
    pool = next;
    added.forEach((entry, index) => {
      const { known, feeSats } = entry;
      const mempoolCount = counts + index + 1;
      parts.tell({ type: 'TransactionAdded', txid: known.txid, feeSats, vsize: known.vsize, mempoolCount });
    });
  }
}

function enterPool(pool: Pool, verdict: Extract<AcceptVerdict, { outcome: 'acceptable' }>): void {
  for (const entry of verdict.replaced) pool.remove(entry);
  pool.add(verdict.entry);
}

/** A package is one child, last, and parents of it; children of parents that are not there would be accepted alone. */
function checkPackage(knowns: readonly KnownTransaction[]): string | undefined {
  if (knowns.length === 0 || knowns.length > MAX_PACKAGE_TRANSACTIONS) return 'package-too-many-transactions';
  if (knowns.reduce((sum, known) => sum + known.weight, 0) > MAX_PACKAGE_WEIGHT) return 'package-too-large';
  const keys = knowns.map((known) => known.key);
  if (new Set(keys).size !== keys.length) return 'package-contains-duplicates';
  const spends = new Set<string>();
  const childParents = new Set(parentKeys(knowns[knowns.length - 1]));
  for (const [index, known] of knowns.entries()) {
    const later = new Set(keys.slice(index));
    if (parentKeys(known).some((key) => later.has(key))) return 'package-not-sorted';
    if (index < knowns.length - 1 && !childParents.has(known.key)) return 'package-not-child-with-parents';
    for (const { outpoint } of known.transaction.inputs) {
      const key = outpointOf(outpoint);
      if (spends.has(key)) return 'conflict-in-package';
      spends.add(key);
    }
  }
  return undefined;
}

function parentKeys(known: KnownTransaction | undefined): string[] {
  return known?.transaction.inputs.map(({ outpoint }) => toHex(outpoint.txid)) ?? [];
}

function decode(raw: Uint8Array): KnownTransaction {
  try {
    return knownTransaction(Uint8Array.from(raw));
  } catch (error) {
    if (!(error instanceof MalformedBytesError)) throw error;
    throw new HostError('INVALID_REQUEST', `the transaction does not decode: ${error.message}`, { cause: error });
  }
}

function assertBurn(known: KnownTransaction, options: SubmitOptions): void {
  const burned = burnedSats(known);
  if (burned <= options.maxBurnSats) return;
  throw new HostError('BURN_TOO_HIGH', `unspendable outputs carry ${burned} satoshis, more than allowed`, {
    details: { burnedSats: burned, maxBurnSats: options.maxBurnSats },
  });
}

function overFee(entry: PoolEntry, options: SubmitOptions): boolean {
  const bound = options.maxFeeRateSatPerKvb;
  return bound > 0n && entry.feeSats * 1_000n > bound * BigInt(entry.known.vsize);
}

function assertFee(entry: PoolEntry, options: SubmitOptions): void {
  if (!overFee(entry, options)) return;
  throw new HostError('FEE_TOO_HIGH', `the transaction pays ${entry.feeSats} satoshis, a higher rate than allowed`, {
    details: { feeSats: entry.feeSats, maxFeeRateSatPerKvb: options.maxFeeRateSatPerKvb },
  });
}

function refusal(reason: string): HostError {
  return new HostError('TRANSACTION_REJECTED', `the mempool refused it: ${reason}`, {
    details: { rejectReason: reason },
  });
}

function mempoolVerdict(known: KnownTransaction, verdict: AcceptVerdict): MempoolVerdict {
  return {
    txid: known.txid,
    wtxid: known.wtxid,
    accepted: verdict.outcome !== 'rejected',
    rejectReason: verdict.outcome === 'rejected' ? verdict.reason : '',
    alreadyKnown: verdict.outcome === 'known',
    vsize: known.vsize,
    feeSats: verdict.outcome === 'rejected' ? 0n : verdict.entry.feeSats,
  };
}
