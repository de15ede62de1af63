import { describe, expect, it } from 'vitest';
import { GetUtxoRequest, GetUtxosRequest, type GetUtxosResponse } from '../../gen/ts/modhost/v1/utxo.js';
import { HostError } from '../../src/contract/error.js';
import type { Outpoint, UtxoApi } from '../../src/node/node-api.js';
import { createUtxoService } from '../../src/services/utxo.js';
import { callContext, createNodeDouble, reasonOf } from './node-double.js';

const context = callContext();
const ID = new Uint8Array(32).fill(3);

/** Outputs below index 10 are unspent, odd ones unconfirmed; the script is as long as asked. */
function rig(scriptBytes = 22) {
  let underWay = 0;
  let most = 0;
  const utxo: UtxoApi = {
    async getUtxo(outpoint: Outpoint, includeMempool) {
      underWay += 1;
      most = Math.max(most, underWay);
      await new Promise((resolve) => setImmediate(resolve));
      underWay -= 1;
      const confirmed = outpoint.index % 2 === 0;
      if (outpoint.index >= 1_000 || (!confirmed && !includeMempool)) return undefined;
      const scriptPubkey = new Uint8Array(scriptBytes);
      return { outpoint, valueSats: 5n, scriptPubkey, coinbase: false, ...(confirmed ? { height: 0 } : {}) };
    },
  };
  const double = createNodeDouble({ utxo });
  return { double, service: createUtxoService({ node: double.node }), most: () => most };
}

const outpoints = (count: number) => Array.from({ length: count }, (_, index) => ({ txid: ID, index }));

describe('requests', () => {
  it.each([
    ['no outpoint', GetUtxoRequest.fromPartial({}), 'FIELD_REQUIRED'],
    ['no txid', GetUtxoRequest.fromPartial({ outpoint: { index: 1 } }), 'FIELD_REQUIRED'],
    ['txid of 33 bytes', GetUtxoRequest.fromPartial({ outpoint: { txid: new Uint8Array(33) } }), 'INVALID_REQUEST'],
    [
      'at_tip of 1 byte',
      GetUtxoRequest.fromPartial({ outpoint: { txid: ID }, atTip: new Uint8Array(1) }),
      'INVALID_REQUEST',
    ],
    ['another tip', GetUtxoRequest.fromPartial({ outpoint: { txid: ID }, atTip: ID }), 'TIP_MOVED'],
  ])('GetUtxo, %s', async (_name, request, reason) => {
    expect(await reasonOf(() => rig().service.getUtxo(request, context))).toBe(reason);
  });

  it.each([
    ['none', GetUtxosRequest.fromPartial({}), 'FIELD_REQUIRED'],
    ['1,001', GetUtxosRequest.fromPartial({ outpoints: outpoints(1_001) }), 'OUT_OF_RANGE'],
    ['one without txid', GetUtxosRequest.fromPartial({ outpoints: [{ txid: ID }, {}] }), 'FIELD_REQUIRED'],
  ])('GetUtxos, %s', async (_name, request, reason) => {
    expect(await reasonOf(() => rig().service.getUtxos(request, context))).toBe(reason);
  });

  it('without a set of outputs: NODE_LACKS_FEATURE', async () => {
    const service = createUtxoService({ node: createNodeDouble().node });
    const one = GetUtxoRequest.fromPartial({ outpoint: { txid: ID } });
    expect(await reasonOf(() => service.getUtxo(one, context))).toBe('NODE_LACKS_FEATURE');
    const several = GetUtxosRequest.fromPartial({ outpoints: outpoints(1) });
    expect(await reasonOf(() => service.getUtxos(several, context))).toBe('NODE_LACKS_FEATURE');
  });
});

describe('answers', () => {
  it('takes spent or unknown as an answer, and height 0 as confirmed', async () => {
    const { service } = rig();
    const get = (index: number, includeMempool = false) =>
      service.getUtxo(GetUtxoRequest.fromPartial({ outpoint: { txid: ID, index }, includeMempool }), context);
    expect(await get(1_000)).toEqual({ found: false, utxo: undefined });
    expect(await get(1)).toEqual({ found: false, utxo: undefined });
    expect(await get(0)).toMatchObject({ found: true, utxo: { confirmed: true, height: 0 } });
    expect(await get(1, true)).toMatchObject({ found: true, utxo: { confirmed: false, height: 0 } });
  });

  it('answers a batch in order, a few reads at a time', async () => {
    const { service, most } = rig();
    const request = GetUtxosRequest.fromPartial({ outpoints: outpoints(1_000), includeMempool: true });
    const { results } = (await service.getUtxos(request, context)) as GetUtxosResponse;
    expect(results.map((result) => result.utxo?.outpoint?.index)).toEqual(
      outpoints(1_000).map((wanted) => wanted.index),
    );
    expect(most()).toBeLessThanOrEqual(5);
  });

  it('answers as many as fit into 1 MiB, at least one', async () => {
    const request = GetUtxosRequest.fromPartial({ outpoints: outpoints(200), includeMempool: true });
    const several = (await rig(10_000).service.getUtxos(request, context)) as GetUtxosResponse;
    expect(several.results.length).toBe(103);
    const one = (await rig(2_000_000).service.getUtxos(request, context)) as GetUtxosResponse;
    expect(one.results.length).toBe(1);
  });

  it('ends a batch with the failure of any read', async () => {
    const { double, service } = rig();
    const read = double.node.utxo?.getUtxo;
    if (double.node.utxo === undefined || read === undefined) throw new Error('the double has no outputs');
    double.node.utxo.getUtxo = async (outpoint, includeMempool, signal) => {
      if (outpoint.index === 7) throw new HostError('NODE_BUSY', 'later');
      return read(outpoint, includeMempool, signal);
    };
    const request = GetUtxosRequest.fromPartial({ outpoints: outpoints(20) });
    expect(await reasonOf(() => service.getUtxos(request, context))).toBe('NODE_BUSY');
  });
});
