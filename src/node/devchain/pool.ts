import { outpointOf } from './check-transaction.js';
import type { Coin, CoinReader } from './coins.js';
import { type KnownTransaction, outpointKey } from './known-transaction.js';

/** One unconfirmed transaction. */
export interface PoolEntry {
  known: KnownTransaction;
  feeSats: bigint;
  /** Unix seconds of entry. */
  timeUnixS: number;
  /** Signature operation cost. */
  sigops: number;
}

/** Unconfirmed transactions and how they hang together; parents always stand before children. Has no rules. */
export interface Pool {
  readonly entries: ReadonlyMap<string, PoolEntry>;
  readonly vbytes: number;
  readonly feeSats: bigint;
  /** Entry that spends an output. */
  spender(outpoint: string): PoolEntry | undefined;
  parents(known: KnownTransaction): PoolEntry[];
  children(known: KnownTransaction): PoolEntry[];
  /** All unconfirmed ancestors of a transaction, itself not included; it need not be in the pool. */
  ancestors(known: KnownTransaction): Set<PoolEntry>;
  /** An entry and everything that hangs on it. */
  withDescendants(entry: PoolEntry): Set<PoolEntry>;
  /** Unspent outputs as seen from the mempool: unconfirmed ones count, and so do unconfirmed spends. */
  view(chain: CoinReader, height: number): CoinReader;
  /** Unspent outputs with unconfirmed ones, whatever unconfirmed transactions spend. */
  outputs(chain: CoinReader, height: number): CoinReader;
  add(entry: PoolEntry): void;
  remove(entry: PoolEntry): void;
  clone(): Pool;
}

/** Makes a pool, empty or with the entries of another. */
export function createPool(from?: { entries: Map<string, PoolEntry>; spends: Map<string, PoolEntry> }): Pool {
  const entries = new Map(from?.entries);
  const spends = new Map(from?.spends);
  let vbytes = 0;
  let feeSats = 0n;
  for (const entry of entries.values()) {
    vbytes += entry.known.vsize;
    feeSats += entry.feeSats;
  }

  const pool: Pool = {
    entries,
    get vbytes() {
      return vbytes;
    },
    get feeSats() {
      return feeSats;
    },
    spender: (outpoint) => spends.get(outpoint),
    parents(known) {
      const keys = new Set(known.transaction.inputs.map(({ outpoint }) => Buffer.from(outpoint.txid).toString('hex')));
      return present([...keys].map((key) => entries.get(key)));
    },
    children(known) {
      return [
        ...new Set(present(known.transaction.outputs.map((_, index) => spends.get(outpointKey(known.key, index))))),
      ];
    },
    ancestors: (known) => closure(pool.parents(known), (entry) => pool.parents(entry.known)),
    withDescendants: (entry) => closure([entry], (other) => pool.children(other.known)),
    view(chain, height) {
      const outputs = pool.outputs(chain, height);
      return { get: (key) => (spends.has(key) ? undefined : outputs.get(key)) };
    },
    outputs: (chain, height) => ({ get: (key) => unconfirmedCoin(entries, key, height) ?? chain.get(key) }),
    add(entry) {
      entries.set(entry.known.key, entry);
      for (const { outpoint } of entry.known.transaction.inputs) spends.set(outpointOf(outpoint), entry);
      vbytes += entry.known.vsize;
      feeSats += entry.feeSats;
    },
    remove(entry) {
      entries.delete(entry.known.key);
      for (const { outpoint } of entry.known.transaction.inputs) spends.delete(outpointOf(outpoint));
      vbytes -= entry.known.vsize;
      feeSats -= entry.feeSats;
    },
    clone: () => createPool({ entries, spends }),
  };
  return pool;
}

function closure(start: readonly PoolEntry[], next: (entry: PoolEntry) => readonly PoolEntry[]): Set<PoolEntry> {
  const reached = new Set(start);
  // A Set visits what is added while it is walked.
  for (const entry of reached) for (const other of next(entry)) reached.add(other);
  return reached;
}

function unconfirmedCoin(entries: ReadonlyMap<string, PoolEntry>, key: string, height: number): Coin | undefined {
  const [txKey = '', index = ''] = key.split(':');
  const output = entries.get(txKey)?.known.transaction.outputs[Number(index)];
  if (output === undefined) return undefined;
  const { valueSats, scriptPubkey } = output;
  return { txKey, index: Number(index), valueSats, scriptPubkey, height, coinbase: false };
}

function present<T>(items: readonly (T | undefined)[]): T[] {
  return items.filter((item): item is T => item !== undefined);
}
