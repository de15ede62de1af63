import { uint256ToBytes } from '../../core/bitcoin/target.js';
import { hasWitness, WITNESS_SCALE_FACTOR } from '../../core/bitcoin/transaction.js';
import type { Clock } from '../../core/clock.js';
import type { BlockTemplate, NewTip } from '../block-template.js';
import type { BlockNode } from './block-tree.js';
import { commitmentScript } from './check-block.js';
import { WITNESS_RESERVED_VALUE } from './miner.js';
import {
  BLOCK_VERSION,
  MAX_BLOCK_SIGOPS_COST,
  MAX_BLOCK_WEIGHT,
  POW_BITS,
  POW_LIMIT,
  subsidyAt,
  VERSION_ROLLING_MASK,
} from './params.js';
import type { Pool, PoolEntry } from './pool.js';
import { countSigops } from './script.js';

// Room that a template leaves for header and coinbase, as Bitcoin Core does.
const RESERVED_WEIGHT = 8_000;
const RESERVED_SIGOPS_COST = 400;

/** Transactions of the next block: best rate first, each with the ancestors that it needs before it. */
function selectTransactions(pool: Pool, rewardScript: Uint8Array, allowed: (entry: PoolEntry) => boolean): PoolEntry[] {
  const chosen = new Set<PoolEntry>();
  let weight = RESERVED_WEIGHT + rewardScript.length * WITNESS_SCALE_FACTOR;
  let sigops = RESERVED_SIGOPS_COST + countSigops(rewardScript) * WITNESS_SCALE_FACTOR;
  for (const { entry, needs } of ranked(pool)) {
    if (chosen.has(entry)) continue;
    const missing = [...needs, entry].filter((other) => !chosen.has(other));
    const moreWeight = missing.reduce((sum, other) => sum + other.known.weight, 0);
    const moreSigops = missing.reduce((sum, other) => sum + other.sigops, 0);
    if (weight + moreWeight > MAX_BLOCK_WEIGHT || sigops + moreSigops > MAX_BLOCK_SIGOPS_COST) continue;
    if (!missing.every(allowed)) continue;
    for (const other of missing) chosen.add(other);
    weight += moreWeight;
    sigops += moreSigops;
  }
  return [...chosen];
}

/**
 * A template on a block.
 *
 * @param rules        without `segwit`, nothing with a witness is chosen (BIP 145)
 * @param rewardScript where the coinbase will pay to, when that is known and may need more room than usual
 */
export function makeTemplate(
  tip: BlockNode,
  pool: Pool,
  rules: readonly string[],
  clock: Clock,
  rewardScript: Uint8Array = new Uint8Array(0),
): BlockTemplate {
  const witness = rules.includes('segwit');
  const chosen = selectTransactions(pool, rewardScript, (entry) => witness || !hasWitness(entry.known.transaction));
  const positions = new Map(chosen.map((entry, index) => [entry, index]));
  const fees = chosen.reduce((sum, entry) => sum + entry.feeSats, 0n);
  const height = tip.height + 1;
  const wtxids = chosen.map((entry) => entry.known.wtxid);
  return {
    previousHash: tip.hash,
    height,
    version: BLOCK_VERSION,
    versionBitsMask: VERSION_ROLLING_MASK,
    bits: POW_BITS,
    target: uint256ToBytes(POW_LIMIT),
    currentTimeUnixS: blockTime(tip, clock),
    minTimeUnixS: tip.medianTimeUnixS + 1,
    coinbaseValueSats: subsidyAt(height) + fees,
    witnessCommitmentScript: witness ? commitmentScript(wtxids, WITNESS_RESERVED_VALUE) : new Uint8Array(0),
    transactions: chosen.map((entry) => ({
      raw: entry.known.raw,
      txid: entry.known.txid,
      wtxid: entry.known.wtxid,
      feeSats: entry.feeSats,
      sigops: entry.sigops,
      weight: entry.known.weight,
      depends: pool
        .parents(entry.known)
        .map((parent) => positions.get(parent) ?? -1)
        .filter((position) => position >= 0)
        .sort((a, b) => a - b),
    })),
    sigopLimit: MAX_BLOCK_SIGOPS_COST,
    sizeLimit: MAX_BLOCK_WEIGHT,
    weightLimit: MAX_BLOCK_WEIGHT,
  };
}

/** What a miner can begin with before there is a template. */
export function newTip(tip: BlockNode): NewTip {
  return {
    previousHash: tip.hash,
    bits: POW_BITS,
    height: tip.height + 1,
    minTimeUnixS: tip.medianTimeUnixS + 1,
    coinbaseValueSats: subsidyAt(tip.height + 1),
  };
}

/** Time of a block on this one: the clock's, or just after the median of the blocks before when that is later. */
function blockTime(parent: BlockNode, clock: Clock): number {
  return Math.max(parent.medianTimeUnixS + 1, Math.floor(clock.unixMs() / 1000));
}

function ranked(pool: Pool): { entry: PoolEntry; needs: PoolEntry[] }[] {
  // Map order stands parents before children; the ancestors keep it.
  const order = new Map([...pool.entries.values()].map((entry, index) => [entry, index]));
  const place = (entry: PoolEntry): number => order.get(entry) ?? 0;
  const items = [...order.keys()].map((entry) => {
    const needs = [...pool.ancestors(entry.known)].sort((a, b) => place(a) - place(b));
    const fees = needs.reduce((sum, other) => sum + other.feeSats, entry.feeSats);
    const vbytes = needs.reduce((sum, other) => sum + other.known.vsize, entry.known.vsize);
    return { entry, needs, rate: Number(fees) / vbytes };
  });
  return items.sort((a, b) => b.rate - a.rate || place(a.entry) - place(b.entry));
}
