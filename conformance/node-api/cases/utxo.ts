import assert from 'node:assert/strict';
import { parseBlock } from '../../../src/core/bitcoin/block.js';
import { parseTransaction, type TransactionOutput, txid } from '../../../src/core/bitcoin/transaction.js';
import type { BlockPosition, Outpoint } from '../../../src/node/node-api.js';
import { type Case, required, type Stage, unknownHash } from '../stage.js';
import type { SignedTransaction } from '../subject.js';

const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };

/** The first output of the tip's coinbase. */
async function freshCoin({
  node,
  tip,
  signal,
}: Stage): Promise<{ outpoint: Outpoint; output: TransactionOutput; at: BlockPosition }> {
  const at = await tip();
  const block = parseBlock((await node.chain.getBlock(at.hash, signal())).raw);
  const coinbase = required(block.transactions[0], 'a block without coinbase');
  const output = required(coinbase.outputs[0], 'a coinbase without outputs');
  return { outpoint: { txid: txid(coinbase), index: 0 }, output, at };
}

function firstInput(spend: SignedTransaction): Outpoint {
  const { outpoint } = required(parseTransaction(spend.raw).inputs[0], 'a spend without inputs');
  return { txid: Uint8Array.from(outpoint.txid), index: outpoint.index };
}

/** Reads of the set of unspent outputs. */
export const utxoCases: Case[] = [
  {
    id: 'utxo/get/unspent-coinbase',
    needs: ['utxo'],
    run: async (stage) => {
      await stage.mine(1);
      const { outpoint, output, at } = await freshCoin(stage);
      const found = required(await stage.utxo().getUtxo(outpoint, false, stage.signal()), 'the coin is not there');
      assert.equal(found.valueSats, output.valueSats);
      assert.deepEqual(Uint8Array.from(found.scriptPubkey), Uint8Array.from(output.scriptPubkey));
      assert.equal(found.height, at.height);
      assert.equal(found.coinbase, true);
      assert.deepEqual(found.outpoint, outpoint);
    },
  },
  {
    id: 'utxo/get/unknown-transaction',
    needs: ['utxo'],
    run: async ({ utxo, signal }) => {
      const outpoint = { txid: unknownHash(), index: 0 };
      assert.equal(await utxo().getUtxo(outpoint, false, signal()), undefined);
      assert.equal(await utxo().getUtxo(outpoint, true, signal()), undefined);
    },
  },
  {
    id: 'utxo/get/index-that-the-transaction-lacks',
    needs: ['utxo'],
    run: async (stage) => {
      const { outpoint } = await freshCoin(stage);
      assert.equal(await stage.utxo().getUtxo({ ...outpoint, index: 999 }, false, stage.signal()), undefined);
    },
  },
  {
    id: 'utxo/get/spent-in-the-chain',
    needs: ['utxo', 'submit-transaction'],
    run: async ({ mempool, mine, subject, utxo, signal }) => {
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      await mine(1);
      assert.equal(await utxo().getUtxo(firstInput(spend), false, signal()), undefined);
      const made = required(await utxo().getUtxo({ txid: spend.txid, index: 0 }, false, signal()), 'no new output');
      assert.equal(made.coinbase, false);
    },
  },
  {
    id: 'utxo/get/spent-in-the-mempool',
    needs: ['utxo', 'submit-transaction'],
    run: async ({ mempool, subject, utxo, signal }) => {
      const spend = await subject.spend();
      const outpoint = firstInput(spend);
      const before = required(await utxo().getUtxo(outpoint, true, signal()), 'the coin is not there');
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      assert.deepEqual(await utxo().getUtxo(outpoint, false, signal()), before);
      assert.equal(await utxo().getUtxo(outpoint, true, signal()), undefined);
    },
  },
  {
    id: 'utxo/get/made-in-the-mempool',
    needs: ['utxo', 'submit-transaction'],
    run: async ({ mempool, subject, utxo, signal }) => {
      const spend = await subject.spend();
      const outpoint = { txid: spend.txid, index: 0 };
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      assert.equal(await utxo().getUtxo(outpoint, false, signal()), undefined);
      const found = required(await utxo().getUtxo(outpoint, true, signal()), 'the unconfirmed output is not there');
      assert.equal(found.height, undefined);
      assert.equal(found.valueSats, parseTransaction(spend.raw).outputs[0]?.valueSats);
    },
  },
  {
    id: 'utxo/get/gone-with-its-block-in-a-reorg',
    needs: ['utxo'],
    run: async (stage) => {
      await stage.mine(1);
      const { outpoint } = await freshCoin(stage);
      await stage.reorg(1);
      assert.equal(await stage.utxo().getUtxo(outpoint, false, stage.signal()), undefined);
    },
  },
];
