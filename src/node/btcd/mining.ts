import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import { RPC } from '../jsonrpc/rpc-failure.js';
import { submitVerdict } from '../jsonrpc/submit-block.js';
import { templateAnswer, templateOf, templateRequest } from '../jsonrpc/template-answer.js';
import type { MiningApi, NetworkName } from '../node-api.js';

/** Templates and blocks of btcd. */
export function createBtcdMining(rpc: RpcClient, network: () => NetworkName): MiningApi {
  return {
    async getTemplate(rules, signal) {
      const params = [{ ...templateRequest(rules, network()), capabilities: ['coinbasevalue'] }];
      const answer = await rpc.call('getblocktemplate', params, templateAnswer, { signal, plainNumbers: true });
      return templateOf(answer);
    },

    async submitBlock(raw, signal) {
      const params = [Buffer.from(raw).toString('hex')];
      const said = await rpc.call('submitblock', params, z.string().nullable(), {
        signal,
        explain: ({ code, message }) =>
          code === RPC.DESERIALIZATION
            ? new HostError('INVALID_REQUEST', `the node cannot decode the block: ${message}`)
            : undefined,
      });
      return submitVerdict(said);
    },
  };
}
