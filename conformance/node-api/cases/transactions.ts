import assert from 'node:assert/strict';
import { iterateBlockTransactions } from '../../../src/core/bitcoin/block.js';
import { parseTransaction, txid } from '../../../src/core/bitcoin/transaction.js';
import type { BlockPosition } from '../../../src/node/node-api.js';
import { type Case, rejects, required, type Stage, unknownHash } from '../stage.js';

const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };

/** The coinbase of a block six below the tip. */
async function someCoinbase({
  node,
  tip,
  signal,
}: Stage): Promise<{ id: Uint8Array; raw: Uint8Array; block: BlockPosition }> {
  const { height } = await tip();
  const hash = await node.chain.getHash(height - 5, signal());
  const { raw } = await node.chain.getBlock(hash, signal());
  for (const item of iterateBlockTransactions(raw)) {
    return { id: txid(item.transaction), raw: Uint8Array.from(item.raw), block: { hash, height: height - 5 } };
  }
  assert.fail('a block without coinbase');
}

/** Reads of single transactions. */
export const transactionCases: Case[] = [
  {
    id: 'transaction/get/by-block',
    run: async (stage) => {
      const { id, raw, block } = await someCoinbase(stage);
      const found = await stage.node.chain.getTransaction(id, block.hash, stage.signal());
      assert.deepEqual(Uint8Array.from(found.raw), raw);
      assert.deepEqual({ ...found.block }, block);
    },
  },
  {
    id: 'transaction/get/by-index',
    needs: ['txindex'],
    run: async (stage) => {
      const { id, raw, block } = await someCoinbase(stage);
      const found = await stage.eventually('the transaction in the index', () =>
        stage.node.chain.getTransaction(id, undefined, stage.signal()).catch(() => undefined),
      );
      assert.deepEqual(Uint8Array.from(found.raw), raw);
      assert.deepEqual({ ...found.block }, block);
    },
  },
  {
    id: 'transaction/get/without-index',
    lacks: ['txindex'],
    run: async (stage) => {
      const { id } = await someCoinbase(stage);
      await rejects(stage.node.chain.getTransaction(id, undefined, stage.signal()), 'TXINDEX_REQUIRED');
    },
  },
  {
    id: 'transaction/get/unknown',
    needs: ['txindex'],
    run: async ({ node, signal }) => {
      await rejects(node.chain.getTransaction(unknownHash(), undefined, signal()), 'TRANSACTION_NOT_FOUND');
    },
  },
  {
    id: 'transaction/get/not-in-that-block',
    run: async (stage) => {
      const { id, block } = await someCoinbase(stage);
      const other = await stage.node.chain.getHash(block.height - 1, stage.signal());
      await rejects(stage.node.chain.getTransaction(id, other, stage.signal()), 'TRANSACTION_NOT_FOUND');
    },
  },
  {
    id: 'transaction/get/in-an-unknown-block',
    run: async (stage) => {
      const { id } = await someCoinbase(stage);
      const call = stage.node.chain.getTransaction(id, unknownHash(), stage.signal());
      await rejects(call, 'BLOCK_NOT_FOUND', 'TRANSACTION_NOT_FOUND');
    },
  },
  {
    id: 'transaction/get/in-the-mempool',
    needs: ['submit-transaction'],
    run: async ({ mempool, node, subject, signal }) => {
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      const found = await node.chain.getTransaction(spend.txid, undefined, signal());
      assert.deepEqual(Uint8Array.from(found.raw), Uint8Array.from(spend.raw));
      assert.equal(found.block, undefined);
    },
  },
  {
    id: 'transaction/get/once-mined',
    needs: ['submit-transaction'],
    run: async ({ mempool, mine, node, subject, signal, tip }) => {
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      const hash = required((await mine(1))[0], 'nothing was mined');
      const found = await node.chain.getTransaction(spend.txid, hash, signal());
      assert.deepEqual(Uint8Array.from(found.raw), Uint8Array.from(spend.raw));
      assert.deepEqual({ ...found.block }, await tip());
    },
  },
  {
    id: 'transaction/get/bytes-hash-to-the-id',
    needs: ['submit-transaction'],
    run: async ({ mempool, node, subject, signal }) => {
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      const found = await node.chain.getTransaction(spend.txid, undefined, signal());
      assert.deepEqual(txid(parseTransaction(found.raw)), Uint8Array.from(spend.txid));
    },
  },
];
