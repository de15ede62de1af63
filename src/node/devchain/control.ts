import { HostError, throwIfAborted } from '../../contract/error.js';
import { blockHash, HEADER_BYTES } from '../../core/bitcoin/header.js';
import type { Clock } from '../../core/clock.js';
import type { SubmitBlockVerdict } from '../node-api.js';
import type { BlockNode } from './block-tree.js';
import type { ChainChange, Chainstate } from './chainstate.js';
import type { Mempool } from './mempool.js';
import { solveTemplate } from './miner.js';
import { MAX_FUTURE_BLOCK_TIME_S } from './params.js';
import { createPool, type Pool } from './pool.js';
import type { Serial } from './serial.js';
import type { Spender, SpendRequest } from './spender.js';
import { makeTemplate } from './template.js';
import type { Wallet } from './wallet.js';

/** What the owner of a devchain can do with it; nothing of this is reachable by a module. */
export interface DevchainControl {
  /**
   * Mines blocks with what the mempool holds; gives their hashes.
   *
   * @param coinbaseScript where the coinbases pay to, at most 10,000 bytes; empty or absent = the wallet
   * @throws OUT_OF_RANGE, INVALID_REQUEST, NODE_BUSY, DISK_FULL
   */
  mine(count: number, coinbaseScript?: Uint8Array, signal?: AbortSignal): Promise<Uint8Array[]>;
  /**
   * Replaces the last `depth` blocks by `length` new ones (default: one more), in one move of the tip. Transactions of
   * the blocks that go return to the mempool. Gives the blocks that went, the old tip first, and the new ones upwards.
   *
   * @throws OUT_OF_RANGE when the chain is shorter, or the branch not longer than what it replaces
   */
  reorg(depth: number, options?: { length?: number | undefined }): Promise<ReorgResult>;
  /**
   * Makes and submits signed transactions from matured coins of the wallet, taproot and P2WPKH in turn. Gives their
   * txids; fewer than asked when there are not as many matured coins.
   */
  spend(count: number, request?: SpendRequest): Promise<Uint8Array[]>;
  /** A signed transaction that nobody has submitted yet, or undefined when no matured coin fits. */
  createSpend(request?: SpendRequest): Promise<Uint8Array | undefined>;
  /** Declares a block invalid; the chain falls back to the best branch without it. @throws BLOCK_NOT_FOUND, INVALID_REQUEST */
  invalidate(hash: Uint8Array): Promise<void>;
  /** Height of the tip. */
  height(): number;
  /** Output scripts of the wallet. */
  scripts(): { p2tr: Uint8Array; p2wpkh: Uint8Array };
}

/** Hashes of the blocks that a reorganisation exchanged. */
export interface ReorgResult {
  disconnected: Uint8Array[];
  connected: Uint8Array[];
}

/** What the control works with. */
export interface ControlParts {
  opened(): { chain: Chainstate; mempool: Mempool; wallet: Wallet; spender: Spender };
  serial: Serial;
  clock: Clock;
  /** Checks a block and lets the chain follow it; runs inside the queue. */
  accept(raw: Uint8Array): Promise<SubmitBlockVerdict>;
  /** Tells a move of the tip; runs inside the queue. */
  follow(change: ChainChange): Promise<void>;
}

/** Blocks that one call mines at most: more would lie hours ahead of the clock. */
const MAX_BLOCKS_PER_CALL = 40_000;

/** Longest script that a coinbase may be made to pay to: longer ones can never be spent. */
const MAX_COINBASE_SCRIPT_BYTES = 10_000;

/** Bounds of the devchain's own transactions: none. */
const UNBOUNDED = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };

/** Makes the control. */
export function createControl(parts: ControlParts): DevchainControl {
  const { opened, serial, clock } = parts;

  return {
    async mine(count, coinbaseScript, signal) {
      assertRange('count', count, 1, MAX_BLOCKS_PER_CALL);
      assertRange('length of the coinbase script', coinbaseScript?.length ?? 0, 0, MAX_COINBASE_SCRIPT_BYTES);
      const rewardScript = coinbaseScript === undefined || coinbaseScript.length === 0 ? undefined : coinbaseScript;
      const hashes: Uint8Array[] = [];
      while (hashes.length < count) {
        const hash = await serial(async () => {
          if (signal !== undefined) throwIfAborted(signal);
          const { chain, mempool } = opened();
          return mineOn(chain.tree.tip, mempool.pool, rewardScript);
        });
        hashes.push(hash);
      }
      return hashes;
    },

    async reorg(depth, options = {}) {
      return serial(async () => {
        const { tree } = opened().chain;
        const length = options.length ?? depth + 1;
        assertRange('depth', depth, 1, tree.tip.height);
        assertRange('length', length, depth + 1, MAX_BLOCKS_PER_CALL);
        const disconnected: Uint8Array[] = [];
        let parent = tree.tip;
        for (; disconnected.length < depth && parent.parent !== undefined; parent = parent.parent) {
          disconnected.push(parent.hash);
        }
        const connected: Uint8Array[] = [];
        while (connected.length < length) {
          const hash = await mineOn(parent, createPool(), undefined);
          connected.push(hash);
          parent = tree.get(hash) ?? parent;
        }
        return { disconnected, connected };
      });
    },

    async spend(count, request = {}) {
      const txids: Uint8Array[] = [];
      for (let i = 0; i < count; i++) {
        const verdict = await serial(async () => {
          const { spender, mempool } = opened();
          const from = request.from ?? (i % 2 === 0 ? 'p2tr' : 'p2wpkh');
          const raw = spender.create({ ...request, from }) ?? spender.create(request);
          return raw && mempool.submit(raw, UNBOUNDED);
        });
        if (verdict === undefined) break;
        txids.push(verdict.txid);
      }
      return txids;
    },

    createSpend: async (request = {}) => serial(async () => opened().spender.create(request)),

    async invalidate(hash) {
      await serial(async () => {
        const change = await opened().chain.invalidate(hash);
        if (change !== undefined) await parts.follow(change);
      });
    },

    height: () => opened().chain.tree.tip.height,

    scripts() {
      const { wallet } = opened();
      return { p2tr: wallet.taprootScript, p2wpkh: wallet.keyHashScript };
    },
  };

  /** Makes one block and takes it in; the extra nonce grows with every known block, so no two are alike. */
  async function mineOn(parent: BlockNode, pool: Pool, script: Uint8Array | undefined): Promise<Uint8Array> {
    const { chain, wallet } = opened();
    const rewardScript = script ?? wallet.taprootScript;
    const template = makeTemplate(parent, pool, ['segwit'], clock, rewardScript);
    const aheadS = template.currentTimeUnixS - Math.floor(clock.unixMs() / 1000);
    if (aheadS > MAX_FUTURE_BLOCK_TIME_S) {
      throw new HostError('NODE_BUSY', 'so many blocks were mined at once that their times are two hours ahead; wait', {
        retryAfterMs: (aheadS - MAX_FUTURE_BLOCK_TIME_S) * 1000,
      });
    }
    const raw = solveTemplate(template, { rewardScript, extraNonce: chain.tree.size });
    const verdict = await parts.accept(raw);
    if (verdict.outcome === 'rejected' || verdict.outcome === 'duplicate') {
      const reason = verdict.outcome === 'rejected' ? verdict.reason : verdict.outcome;
      throw new HostError('INTERNAL', `the devchain made a block that it refuses itself: ${reason}`);
    }
    return blockHash(raw.subarray(0, HEADER_BYTES));
  }
}

function assertRange(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw new HostError('OUT_OF_RANGE', `${name} is ${value}; it must be a whole number from ${least} to ${most}`);
}
