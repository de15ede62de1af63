import type { Outpoint } from '../../gen/ts/modhost/v1/bitcoin.js';
import type { UtxoResult, UtxoServiceService } from '../../gen/ts/modhost/v1/utxo.js';
import type { ServiceImpl } from '../contract/service.js';
import type { NodeApi, Utxo } from '../node/node-api.js';
import { atTip } from './at-tip.js';
import { requireFeature, requireHash, requireList, requireMessage } from './check.js';
import { MAX_BATCH_BYTES } from './decoded.js';
import { fetchAhead } from './fetch-ahead.js';

/** Outpoints of one batch: an answer of about 100 KiB with usual scripts. */
export const MAX_OUTPOINTS = 1_000;

/** Reads of one batch under way at the same time; the node's budget for the module still bounds what reaches it. */
const OUTPOINTS_AHEAD = 4;

/** Bytes of a result besides its script, at most. */
const RESULT_OVERHEAD_BYTES = 96;

/** Answers reads of the unspent outputs. @param deps.node the port, budgeted for one module */
export function createUtxoService({ node }: { node: NodeApi }): ServiceImpl<typeof UtxoServiceService> {
  const reads = () => requireFeature(node.utxo, 'utxo');
  return {
    async getUtxo({ outpoint, includeMempool, atTip: tip }, { signal }) {
      const wanted = readOutpoint(outpoint);
      const utxo = reads();
      return toResult(await atTip(node, tip, signal, () => utxo.getUtxo(wanted, includeMempool, signal)));
    },
    async getUtxos({ outpoints, includeMempool, atTip: tip }, { signal }) {
      const wanted = requireList(outpoints, MAX_OUTPOINTS, 'outpoints').map(readOutpoint);
      const utxo = reads();
      const results = await atTip(node, tip, signal, async () => {
        const found = fetchAhead(wanted, OUTPOINTS_AHEAD, signal, (outpoint, inner) =>
          utxo.getUtxo(outpoint, includeMempool, inner),
        );
        return upToOneBatch(found);
      });
      return { results };
    },
  };
}

function readOutpoint(outpoint: Outpoint | undefined): Outpoint {
  const { txid, index } = requireMessage(outpoint, 'outpoint');
  return { txid: requireHash(txid, 'txid'), index };
}

async function upToOneBatch(found: AsyncIterable<Utxo | undefined>): Promise<UtxoResult[]> {
  const results: UtxoResult[] = [];
  let size = 0;
  for await (const utxo of found) {
    size += RESULT_OVERHEAD_BYTES + (utxo?.scriptPubkey.byteLength ?? 0);
    if (results.length > 0 && size > MAX_BATCH_BYTES) break;
    results.push(toResult(utxo));
  }
  return results;
}

function toResult(utxo: Utxo | undefined): UtxoResult {
  if (utxo === undefined) return { found: false, utxo: undefined };
  return { found: true, utxo: { ...utxo, confirmed: utxo.height !== undefined, height: utxo.height ?? 0 } };
}
