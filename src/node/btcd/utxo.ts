import { z } from 'zod';

import { hashToDisplay } from '../../core/bytes.js';
import { unspentOutput } from '../jsonrpc/answers.js';
import { type RpcCall, type RpcClient, resultOf } from '../jsonrpc/rpc-client.js';
import { RPC } from '../jsonrpc/rpc-failure.js';
import type { UtxoApi } from '../node-api.js';

const spenders = z.array(z.object({ spendingtxid: z.string().optional() }));

/** Unspent outputs of btcd; `heightOf` places the block that an answer was made at. */
export function createBtcdUtxo(
  rpc: RpcClient,
  heightOf: (hash: Uint8Array, signal: AbortSignal) => Promise<number>,
): UtxoApi {
  return {
    async getUtxo(outpoint, includeMempool, signal) {
      const txid = hashToDisplay(outpoint.txid);
      const calls: RpcCall[] = [{ method: 'gettxout', params: [txid, outpoint.index, includeMempool] }];
      // btcd counts unconfirmed outputs, but not unconfirmed spends; those are asked for beside.
      if (includeMempool) calls.push({ method: 'gettxspendingprevout', params: [[{ txid, vout: outpoint.index }]] });
      const [output, spends] = await rpc.batch(calls, { signal });
      // An index that the transaction does not have is an error of btcd's, but "unknown" here.
      if (output !== undefined && 'failure' in output && output.failure.code === RPC.NOT_FOUND) return undefined;
      const found = resultOf('gettxout', output, unspentOutput);
      if (found === null) return undefined;
      if (includeMempool && resultOf('gettxspendingprevout', spends, spenders)[0]?.spendingtxid) return undefined;
      const { confirmations, value, coinbase, scriptPubKey } = found;
      const height = confirmations === 0 ? undefined : (await heightOf(found.bestblock, signal)) - confirmations + 1;
      return { outpoint, valueSats: value, scriptPubkey: scriptPubKey.hex, height, coinbase };
    },
  };
}
