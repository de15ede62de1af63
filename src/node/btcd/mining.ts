import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import { blockHash, HEADER_BYTES } from '../../core/bitcoin/header.js';
import { HASH_BYTES } from '../../core/bytes.js';
import { getVerboseHeader } from '../jsonrpc/chain-calls.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import { RPC } from '../jsonrpc/rpc-failure.js';
import { submitVerdict } from '../jsonrpc/submit-block.js';
import { templateAnswer, templateOf, templateRequest } from '../jsonrpc/template-answer.js';
import type { MiningApi, NetworkName } from '../node-api.js';

/** OP_RETURN, a push of 36 bytes, and the tag of a witness commitment (BIP 141). */
const COMMITMENT_PREFIX = Uint8Array.of(0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed);

/** Templates and blocks of btcd. */
export function createBtcdMining(rpc: RpcClient, network: () => NetworkName): MiningApi {
  const isActive = async (block: Uint8Array, signal: AbortSignal): Promise<boolean> => {
    try {
      await getVerboseHeader(rpc, blockHash(block.subarray(0, HEADER_BYTES)), signal);
      return true;
    } catch (error) {
      const { reason } = HostError.from(error);
      if (reason === 'BLOCK_NOT_FOUND' || reason === 'NODE_ERROR') return false;
      throw error;
    }
  };

  return {
    async getTemplate(rules, signal) {
      const params = [{ ...templateRequest(rules, network()), capabilities: ['coinbasevalue'] }];
      const answer = await rpc.call('getblocktemplate', params, templateAnswer, { signal, plainNumbers: true });
      const template = templateOf(answer);
      return { ...template, witnessCommitmentScript: commitmentScript(template.witnessCommitmentScript) };
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
      const verdict = submitVerdict(said);
      if (verdict.outcome !== 'accepted') return verdict;
      // btcd says the same of a block on a side branch, or without its parent; only the active chain has heights.
      return (await isActive(raw, signal)) ? verdict : { outcome: 'inconclusive' };
    },
  };
}

/** btcd (0.26.2) gives the bare commitment of 32 bytes where BIP 145 wants the whole output script. */
function commitmentScript(given: Uint8Array): Uint8Array {
  return given.byteLength === HASH_BYTES ? Uint8Array.of(...COMMITMENT_PREFIX, ...given) : given;
}
