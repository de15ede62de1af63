import { hashToDisplay } from '../../core/bytes.js';
import { assertHeaderHash } from '../jsonrpc/answers.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';

/** Bitcoin Core's REST interface (`rest=1`), which gives blocks as bytes instead of hex in JSON. */
export interface RestBlocks {
  /** The block, or undefined: REST is off, or knows no such block; RPC then tells the reason. */
  getBlock(hash: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** Forgets whether REST is on: the node may have restarted with another configuration. */
  reset(): void;
}

/** Makes the reader; the first read asks the node whether REST is on. `allowed` false = never use it. */
export function createRestBlocks(rpc: RpcClient, allowed: boolean): RestBlocks {
  let on: boolean | undefined;
  return {
    async getBlock(hash, signal) {
      if (!allowed) return undefined;
      on ??= (await rpc.get('/rest/chaininfo.json', signal)).status === 200;
      if (!on) return undefined;
      const answer = await rpc.get(`/rest/block/${hashToDisplay(hash)}.bin`, signal);
      if (answer.status !== 200) return undefined;
      assertHeaderHash(answer.body, hash);
      return answer.body;
    },
    reset() {
      on = undefined;
    },
  };
}
