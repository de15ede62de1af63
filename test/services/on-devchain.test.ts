import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  GetBlockByHeightRequest,
  GetTransactionsRequest,
  type GetTransactionsResponse,
  ListBlockTransactionsRequest,
  type ListBlockTransactionsResponse,
  StreamBlocksRequest,
  type StreamBlocksResponse,
} from '../../gen/ts/modhost/v1/chain.js';
import { ListTransactionsRequest, SubmitTransactionRequest } from '../../gen/ts/modhost/v1/mempool.js';
import {
  BlockOutcome,
  type BlockTemplate,
  type GetBlockTemplateResponse,
  type WatchBlockTemplateResponse,
} from '../../gen/ts/modhost/v1/mining.js';
import { GetUtxoRequest } from '../../gen/ts/modhost/v1/utxo.js';
import { serializeBlock } from '../../src/core/bitcoin/block.js';
import { blockHash, serializeHeader } from '../../src/core/bitcoin/header.js';
import { merkleRoot } from '../../src/core/bitcoin/merkle.js';
import { meetsTarget, uint256FromBytes } from '../../src/core/bitcoin/target.js';
import { parseTransaction, type Transaction, txid } from '../../src/core/bitcoin/transaction.js';
import { toHex } from '../../src/core/bytes.js';
import { createChainService } from '../../src/services/chain.js';
import { createMempoolService } from '../../src/services/mempool.js';
import { createMiningService } from '../../src/services/mining.js';
import { createTemplateWatch, type TemplateWatch } from '../../src/services/mining-watch.js';
import { createUtxoService } from '../../src/services/utxo.js';
import { createTestDevchain } from '../node/devchain-subject.js';
import { callContext, collect, reasonOf } from './node-double.js';

const devchain = createTestDevchain();
const context = callContext();
const chain = createChainService({ node: devchain });
const utxos = createUtxoService({ node: devchain });
const mempool = createMempoolService({ node: devchain });
let templates: TemplateWatch;

beforeAll(async () => {
  templates = createTemplateWatch(devchain);
  await devchain.start((event) => templates.offer(event), context.signal);
  await devchain.control.mine(110);
});

afterAll(async () => {
  await devchain.stop();
});

const mining = () => createMiningService({ node: devchain, templates });

async function blockTemplate(): Promise<BlockTemplate> {
  const answer = (await mining().getBlockTemplate({ rules: [] }, context)) as GetBlockTemplateResponse;
  if (answer.template === undefined) throw new Error('no template');
  return answer.template;
}

/** A block made of nothing but what the template says, as a module of a miner would make it. */
function buildBlock(template: BlockTemplate): Uint8Array {
  const height = Buffer.alloc(4);
  height.writeUInt32LE(template.height);
  const heightBytes = template.height < 0x80 ? 1 : 2;
  const coinbase: Transaction = {
    version: 2,
    inputs: [
      {
        outpoint: { txid: new Uint8Array(32), index: 0xffff_ffff },
        scriptSig: Uint8Array.from([heightBytes, ...height.subarray(0, heightBytes), 1, 0]),
        sequence: 0xffff_ffff,
        witness: [new Uint8Array(32)],
      },
    ],
    outputs: [
      { valueSats: template.coinbaseValueSats, scriptPubkey: Uint8Array.of(0x51) },
      { valueSats: 0n, scriptPubkey: template.witnessCommitmentScript },
    ],
    lockTime: 0,
  };
  const fields = {
    version: template.version,
    previousHash: template.previousHash,
    merkleRoot: merkleRoot([txid(coinbase), ...template.transactions.map((transaction) => transaction.txid)]),
    timeUnixS: Math.max(template.minTimeUnixS, template.currentTimeUnixS),
    bits: template.bits,
  };
  const target = uint256FromBytes(template.target);
  for (let nonce = 0; ; nonce++) {
    const header = serializeHeader({ ...fields, nonce });
    if (!meetsTarget(blockHash(header), target)) continue;
    return serializeBlock(header, [coinbase, ...template.transactions.map(({ raw }) => parseTransaction(raw))]);
  }
}

describe('the services over a devchain', () => {
  it('walk the chain: every block is the child of the one before, and decodes to what it holds', async () => {
    const request = StreamBlocksRequest.fromPartial({});
    const blocks = (await collect(chain.streamBlocks(request, context))) as StreamBlocksResponse[];
    expect(blocks.map((block) => block.height)).toEqual(Array.from({ length: 111 }, (_, height) => height));
    const last = blocks[110] as StreamBlocksResponse;
    expect(toHex(blockHash(last.raw.subarray(0, 80)))).toBe(toHex(last.hash));
    const byHeight = await chain.getBlockByHeight(
      GetBlockByHeightRequest.fromPartial({ height: 110, atTip: last.hash }),
      context,
    );
    expect(byHeight).toMatchObject({ hash: last.hash, confirmations: 1, body: { $case: 'raw', value: last.raw } });
    const list = ListBlockTransactionsRequest.fromPartial({ hash: last.hash });
    const [message] = (await collect(chain.listBlockTransactions(list, context))) as ListBlockTransactionsResponse[];
    expect(message?.transactions[0]?.inputs[0]?.outpoint?.index).toBe(0xffff_ffff);
  });

  it('submit a transaction, know it afterwards, and find it in the chain once it is mined', async () => {
    const raw = (await devchain.control.createSpend()) as Uint8Array;
    const id = txid(parseTransaction(raw));
    const request = SubmitTransactionRequest.fromPartial({ raw });
    const tested = await mempool.testTransaction({ ...request, raws: [raw] }, context);
    expect(tested).toMatchObject({ verdicts: [{ txid: id, accepted: true, alreadyKnown: false }] });
    expect(await mempool.submitTransaction(request, context)).toMatchObject({ txid: id, alreadyKnown: false });
    expect(await mempool.submitTransaction(request, context)).toMatchObject({ txid: id, alreadyKnown: true });
    const page = await mempool.listTransactions(ListTransactionsRequest.fromPartial({}), context);
    expect(page).toMatchObject({ txids: [id], totalCount: 1 });

    const outpoint = { txid: id, index: 0 };
    const get = (includeMempool: boolean) =>
      utxos.getUtxo(GetUtxoRequest.fromPartial({ outpoint, includeMempool }), context);
    expect(await get(false)).toMatchObject({ found: false });
    expect(await get(true)).toMatchObject({ found: true, utxo: { confirmed: false } });
    await devchain.control.mine(1);
    expect(await get(false)).toMatchObject({ found: true, utxo: { confirmed: true, height: 111 } });
    const batch = GetTransactionsRequest.fromPartial({ queries: [{ txid: id }], format: 2 });
    const { results } = (await chain.getTransactions(batch, context)) as GetTransactionsResponse;
    expect(results[0]?.outcome).toMatchObject({
      $case: 'found',
      value: { body: { $case: 'decoded', value: { txid: id } }, block: { height: 111 } },
    });
  });

  it('C165: refuse bounds that a transaction breaks, and transactions that the rules forbid', async () => {
    const raw = (await devchain.control.createSpend()) as Uint8Array;
    const bounded = SubmitTransactionRequest.fromPartial({ raw, maxFeeRateSatPerKvb: 1n });
    expect(await reasonOf(() => mempool.submitTransaction(bounded, context))).toBe('FEE_TOO_HIGH');
    const parsed = parseTransaction(raw);
    const flipped = Uint8Array.from(raw);
    // the last digit of the first output's value: the signature no longer holds
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(parsed.outputs[0]?.valueSats ?? 0n);
    const at = Buffer.from(raw).indexOf(value);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    const forged = SubmitTransactionRequest.fromPartial({ raw: flipped });
    expect(await reasonOf(() => mempool.submitTransaction(forged, context))).toBe('TRANSACTION_REJECTED');
  });

  it('give a template that is enough to mine a block that the node accepts', async () => {
    await devchain.control.spend(3);
    const template = await blockTemplate();
    expect(template.transactions).toHaveLength(3);
    const raw = buildBlock(template);
    expect(await mining().submitBlock({ raw }, context)).toMatchObject({ outcome: BlockOutcome.ACCEPTED });
    expect(await mining().submitBlock({ raw }, context)).toMatchObject({ outcome: BlockOutcome.DUPLICATE });
    expect(await chain.getChainTip({}, context)).toMatchObject({ hash: blockHash(raw.subarray(0, 80)) });

    const wrong = await blockTemplate();
    const greedy = buildBlock({ ...wrong, coinbaseValueSats: wrong.coinbaseValueSats + 1n });
    expect(await mining().submitBlock({ raw: greedy }, context)).toMatchObject({ outcome: BlockOutcome.REJECTED });
  });

  it('push the new tip first and then its template', async () => {
    const controller = new AbortController();
    const stream = mining().watchBlockTemplate({ rules: [] }, callContext(controller.signal));
    const work = stream[Symbol.asyncIterator]() as AsyncIterator<WatchBlockTemplateResponse>;
    const first = (await work.next()).value as WatchBlockTemplateResponse;
    expect(first.update?.$case).toBe('template');
    const second = work.next();
    const [hash] = await devchain.control.mine(1);
    expect((await second).value).toMatchObject({ update: { $case: 'newTip', value: { previousHash: hash } } });
    const third = (await work.next()).value as WatchBlockTemplateResponse;
    expect(third).toMatchObject({ update: { $case: 'template', value: { previousHash: hash } } });
    controller.abort();
    expect(await reasonOf(() => work.next())).toBe('CANCELLED');
  });

  it('C165: a reorganisation during a walk ends it with TIP_MOVED', async () => {
    const walk = async () => {
      const stream = chain.streamBlocks(StreamBlocksRequest.fromPartial({ fromHeight: 90 }), context);
      for await (const block of stream) {
        const { height } = block as StreamBlocksResponse;
        // the block just given is the lowest that is replaced, so that no later one can follow it
        if (height === 92) await devchain.control.reorg(devchain.control.height() - height + 1);
      }
    };
    expect(await reasonOf(walk)).toBe('TIP_MOVED');
  });
});
