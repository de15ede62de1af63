import { hashToDisplay } from '../../core/bytes.js';
import { unspentOutput } from '../jsonrpc/answers.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import type { UtxoApi } from '../node-api.js';

/** Unspent outputs of Bitcoin Core; `heightOf` places the block that an answer was made at. */
export function createBitcoindUtxo(
  rpc: RpcClient,
  heightOf: (hash: Uint8Array, signal: AbortSignal) => Promise<number>,
): UtxoApi {
  return {
    async getUtxo(outpoint, includeMempool, signal) {
      const params = [hashToDisplay(outpoint.txid), outpoint.index, includeMempool];
      const found = await rpc.call('gettxout', params, unspentOutput, { signal });
      if (found === null) return undefined;
      const { confirmations, value, coinbase, scriptPubKey } = found;
      const height = confirmations === 0 ? undefined : (await heightOf(found.bestblock, signal)) - confirmations + 1;
      return { outpoint, valueSats: value, scriptPubkey: scriptPubKey.hex, height, coinbase };
    },
  };
}
