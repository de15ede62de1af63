import { throwIfAborted } from '../../contract/error.js';
import { toHex } from '../../core/bytes.js';
import type { MempoolApi } from '../node-api.js';
import type { Opened } from './chain-api.js';
import type { Serial } from './serial.js';

/** Furthest target that an estimate is asked for, blocks; Bitcoin Core's bound. */
const MAX_ESTIMATE_TARGET = 1_008;

/** Reads of and submissions to the devchain's mempool. */
export function createMempoolApi(opened: Opened, serial: Serial, minRelaySatPerKvb: bigint): MempoolApi {
  const change = <T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> => {
    throwIfAborted(signal);
    return serial(async () => {
      // It may have waited for its turn.
      throwIfAborted(signal);
      return task();
    });
  };
  return {
    async listTxids(signal) {
      throwIfAborted(signal);
      const keys = [...opened().mempool.pool.entries.keys()].sort();
      return keys.map((key) => new Uint8Array(Buffer.from(key, 'hex')));
    },
    async getEntry(txid, signal) {
      throwIfAborted(signal);
      const { pool } = opened().mempool;
      const entry = pool.entries.get(toHex(txid));
      if (entry === undefined) return undefined;
      return {
        txid: entry.known.txid,
        wtxid: entry.known.wtxid,
        vsize: entry.known.vsize,
        feeSats: entry.feeSats,
        timeUnixS: entry.timeUnixS,
        ancestorCount: pool.ancestors(entry.known).size + 1,
        descendantCount: pool.withDescendants(entry).size,
      };
    },
    async getRaw(txid, signal) {
      throwIfAborted(signal);
      return opened().mempool.pool.entries.get(toHex(txid))?.known.raw;
    },
    async getSize(signal) {
      throwIfAborted(signal);
      const { pool } = opened().mempool;
      return {
        transactionCount: pool.entries.size,
        vbytes: BigInt(pool.vbytes),
        memoryBytes: 0n,
        totalFeeSats: pool.feeSats,
        minFeeRateSatPerKvb: minRelaySatPerKvb,
      };
    },
    async estimateFee(targetBlocks, signal) {
      throwIfAborted(signal);
      opened();
      // A chain on which nobody competes for room has nothing to estimate from.
      return { targetBlocks: Math.min(Math.max(targetBlocks, 1), MAX_ESTIMATE_TARGET) };
    },
    submit: async (raw, options, signal) => change(signal, () => opened().mempool.submit(raw, options)),
    submitPackage: async (raws, options, signal) => change(signal, () => opened().mempool.submitPackage(raws, options)),
    test: async (raws, options, signal) => change(signal, () => opened().mempool.test(raws, options)),
  };
}
