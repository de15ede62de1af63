import { parseHeader } from '../../core/bitcoin/header.js';
import { uint256ToBytes, workFromBits } from '../../core/bitcoin/target.js';
import { hashToDisplay } from '../../core/bytes.js';
import { hexText } from '../jsonrpc/answers.js';
import { getHashes } from '../jsonrpc/chain-calls.js';
import { type RpcClient, resultOf } from '../jsonrpc/rpc-client.js';
import type { NetworkName } from '../node-api.js';

/** Blocks that share one target. */
const PERIOD_BLOCKS = 2_016;

/** Chain work of networks whose target is constant for whole periods; btcd itself does not tell it. */
export interface ChainWork {
  /** Work up to this height, 32 bytes big-endian; all zero on networks where single blocks may have a target of their own. */
  upTo(height: number, signal: AbortSignal): Promise<Uint8Array>;
}

/**
 * Adds the work of each period out of one header a period (mainnet: some 450 small calls in five batches, once).
 * Periods that are complete are kept; a reorganisation never reaches a period that is more than one back.
 */
export function createChainWork(rpc: RpcClient, network: () => NetworkName): ChainWork {
  /** Work of one block of each period, by the period's number. */
  const perBlock: bigint[] = [];

  const load = async (periods: number, signal: AbortSignal): Promise<void> => {
    // The newest two are read again: they may have been on a branch that is gone.
    perBlock.length = Math.min(perBlock.length, Math.max(0, periods - 2));
    const heights: number[] = [];
    for (let period = perBlock.length; period < periods; period++) heights.push(period * PERIOD_BLOCKS);
    const hashes = (await getHashes(rpc, heights, signal)).filter((hash) => hash !== undefined);
    const calls = hashes.map((hash) => ({ method: 'getblockheader', params: [hashToDisplay(hash), false] }));
    for (const outcome of await rpc.batch(calls, { signal })) {
      perBlock.push(workFromBits(parseHeader(resultOf('getblockheader', outcome, hexText)).bits));
    }
  };

  return {
    async upTo(height, signal) {
      const name = network();
      if (name !== 'main' && name !== 'signet' && name !== 'regtest') return new Uint8Array(32);
      // Regtest never changes its target.
      const periods = name === 'regtest' ? 1 : Math.floor(height / PERIOD_BLOCKS) + 1;
      await load(periods, signal);
      let work = 0n;
      for (let period = 0; period < periods; period++) {
        const blocks = period === periods - 1 ? height + 1 - period * PERIOD_BLOCKS : PERIOD_BLOCKS;
        work += (perBlock[period] ?? 0n) * BigInt(blocks);
      }
      return uint256ToBytes(work);
    },
  };
}
