import assert from 'node:assert/strict';
import { parseTransaction, vsize } from '../../../src/core/bitcoin/transaction.js';
import { asBuffer, equalBytes } from '../../../src/core/bytes.js';
import { type Case, rejects, required, type Stage, unknownHash } from '../stage.js';
import type { SignedTransaction } from '../subject.js';

const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };
/** Clocks of node and test may differ a little, and a node may round to seconds. */
const CLOCK_SLACK_S = 7_200;

async function submitted({ mempool, subject, signal }: Stage): Promise<SignedTransaction> {
  const spend = await subject.spend();
  await mempool().submit(spend.raw, NO_BOUNDS, signal());
  return spend;
}

/** Reads of the mempool. */
export const mempoolCases: Case[] = [
  {
    id: 'mempool/list/sorted-by-bytes-and-complete',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spends = [await submitted(stage), await submitted(stage), await submitted(stage)];
      const listed = await stage.mempool().listTxids(stage.signal());
      const sorted = [...listed].sort((a, b) => asBuffer(a).compare(b));
      assert.deepEqual(listed, sorted);
      for (const spend of spends) assert.ok(listed.some((id) => equalBytes(id, spend.txid)));
    },
  },
  {
    id: 'mempool/list/empty-after-a-block',
    needs: ['submit-transaction'],
    run: async (stage) => {
      await submitted(stage);
      await stage.mine(1);
      assert.deepEqual(await stage.mempool().listTxids(stage.signal()), []);
      assert.equal((await stage.mempool().getSize(stage.signal())).transactionCount, 0);
    },
  },
  {
    id: 'mempool/entry/size-fee-and-time',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await submitted(stage);
      const entry = required(await stage.mempool().getEntry(spend.txid, stage.signal()), 'the entry is not there');
      assert.deepEqual(Uint8Array.from(entry.txid), Uint8Array.from(spend.txid));
      assert.equal(entry.vsize, vsize(parseTransaction(spend.raw)));
      assert.ok(entry.feeSats > 0n);
      assert.ok(Math.abs(entry.timeUnixS - Date.now() / 1000) < CLOCK_SLACK_S);
    },
  },
  {
    id: 'mempool/entry/fee-is-inputs-less-outputs',
    needs: ['submit-transaction', 'utxo'],
    run: async (stage) => {
      const { mempool, subject, utxo, signal } = stage;
      const spend = await subject.spend();
      const transaction = parseTransaction(spend.raw);
      let fee = 0n;
      for (const { outpoint } of transaction.inputs) {
        const coin = { txid: Uint8Array.from(outpoint.txid), index: outpoint.index };
        fee += required(await utxo().getUtxo(coin, true, signal()), 'the spent coin is not there').valueSats;
      }
      for (const output of transaction.outputs) fee -= output.valueSats;
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      assert.equal((await mempool().getEntry(spend.txid, signal()))?.feeSats, fee);
    },
  },
  {
    id: 'mempool/entry/counts-itself-among-ancestors-and-descendants',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await submitted(stage);
      const entry = required(await stage.mempool().getEntry(spend.txid, stage.signal()), 'the entry is not there');
      assert.ok(entry.ancestorCount >= 1 && entry.descendantCount >= 1);
    },
  },
  {
    id: 'mempool/entry/unknown',
    needs: ['mempool'],
    run: async ({ mempool, signal }) => {
      assert.equal(await mempool().getEntry(unknownHash(), signal()), undefined);
    },
  },
  {
    id: 'mempool/raw/bytes-as-submitted',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await submitted(stage);
      const raw = required(await stage.mempool().getRaw(spend.txid, stage.signal()), 'the bytes are not there');
      assert.deepEqual(Uint8Array.from(raw), Uint8Array.from(spend.raw));
    },
  },
  {
    id: 'mempool/raw/unknown',
    needs: ['mempool'],
    run: async ({ mempool, signal }) => {
      assert.equal(await mempool().getRaw(unknownHash(), signal()), undefined);
    },
  },
  {
    id: 'mempool/raw/confirmed-is-not-there',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await submitted(stage);
      await stage.mine(1);
      assert.equal(await stage.mempool().getRaw(spend.txid, stage.signal()), undefined);
      assert.equal(await stage.mempool().getEntry(spend.txid, stage.signal()), undefined);
    },
  },
  {
    id: 'mempool/size/adds-up',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const { mempool, signal } = stage;
      await stage.mine(1);
      const spends = [await submitted(stage), await submitted(stage)];
      const size = await mempool().getSize(signal());
      assert.equal(size.transactionCount, 2);
      const bytes = spends.map((spend) => BigInt(vsize(parseTransaction(spend.raw)))).reduce((a, b) => a + b);
      assert.equal(size.vbytes, bytes);
      if (size.totalFeeSats !== undefined) {
        const fees = await Promise.all(
          spends.map(async ({ txid }) => (await mempool().getEntry(txid, signal()))?.feeSats),
        );
        assert.equal(
          size.totalFeeSats,
          fees.reduce<bigint>((sum, fee) => sum + (fee ?? 0n), 0n),
        );
      }
      assert.ok(size.minFeeRateSatPerKvb >= 0n);
    },
  },
  {
    id: 'mempool/fee-estimate/names-its-target',
    needs: ['fee-estimate'],
    run: async ({ mempool, signal }) => {
      const estimate = await mempool().estimateFee(6, signal());
      assert.ok(estimate.targetBlocks >= 1);
      assert.ok(estimate.feeRateSatPerKvb === undefined || estimate.feeRateSatPerKvb > 0n);
    },
  },
  {
    id: 'mempool/fee-estimate/impossible-target',
    needs: ['fee-estimate'],
    run: async ({ mempool, signal }) => {
      // A node may refuse 0 or answer for the nearest target; what it may not do is fail otherwise.
      const answer = await mempool()
        .estimateFee(0, signal())
        .catch(async (error: unknown) => await rejects(Promise.reject(error)));
      if ('targetBlocks' in answer) assert.ok(answer.targetBlocks >= 1);
    },
  },
  {
    id: 'mempool/reorg/transactions-are-not-lost',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const { mempool, node, signal } = stage;
      const spend = await submitted(stage);
      await stage.mine(1);
      const branch = await stage.reorg(1);
      await stage.eventually('the transaction in the mempool or the new branch', async () => {
        if ((await mempool().getRaw(spend.txid, signal())) !== undefined) return true;
        for (const hash of branch) {
          const found = await node.chain.getTransaction(spend.txid, hash, signal()).catch(() => undefined);
          if (found !== undefined) return true;
        }
        return undefined;
      });
    },
  },
];
