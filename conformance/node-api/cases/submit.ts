import assert from 'node:assert/strict';
import { parseBlock } from '../../../src/core/bitcoin/block.js';
import { parseTransaction, serializeTransaction, txid, vsize, wtxid } from '../../../src/core/bitcoin/transaction.js';
import { equalBytes } from '../../../src/core/bytes.js';
import { type Case, rejects, required, type Stage } from '../stage.js';
import type { SignedTransaction } from '../subject.js';

const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };
/** Below what any of the subject's transactions pays. */
const TINY_FEE_RATE = 1n;

/** The same transaction with a byte of its first signature turned: valid bytes, invalid script. */
function badlySigned(spend: SignedTransaction): Uint8Array {
  const transaction = parseTransaction(spend.raw);
  const input = required(transaction.inputs[0], 'a spend without inputs');
  const item = Uint8Array.from(required(input.witness[0], 'a spend without witness'));
  const place = item.byteLength >> 1;
  item[place] = required(item[place], 'an empty signature') ^ 0x01;
  input.witness[0] = item;
  return serializeTransaction(transaction, { witness: true });
}

/** The same transaction spending an output that does not exist. */
function missingInputs(spend: SignedTransaction): Uint8Array {
  const transaction = parseTransaction(spend.raw);
  const input = required(transaction.inputs[0], 'a spend without inputs');
  input.outpoint = { txid: new Uint8Array(32).fill(0xcd), index: 0 };
  return serializeTransaction(transaction, { witness: true });
}

/** What the unspendable outputs of a transaction carry. */
function burned(spend: SignedTransaction): bigint {
  const outputs = parseTransaction(spend.raw).outputs.filter((output) => output.scriptPubkey[0] === 0x6a);
  const sats = outputs.reduce((sum, output) => sum + output.valueSats, 0n);
  assert.ok(sats > 0n, 'the subject was asked to burn and did not');
  return sats;
}

async function listed({ mempool, signal }: Stage, id: Uint8Array): Promise<boolean> {
  return (await mempool().listTxids(signal())).some((other) => equalBytes(other, id));
}

/** Submissions to the mempool, and what they would do. */
export const submitCases: Case[] = [
  {
    id: 'submit/transaction/accepted',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await stage.subject.spend();
      const verdict = await stage.mempool().submit(spend.raw, NO_BOUNDS, stage.signal());
      assert.equal(verdict.accepted, true);
      assert.equal(verdict.alreadyKnown, false);
      assert.equal(verdict.rejectReason, '');
      assert.deepEqual(Uint8Array.from(verdict.txid), txid(parseTransaction(spend.raw)));
      assert.deepEqual(Uint8Array.from(verdict.wtxid), wtxid(parseTransaction(spend.raw)));
      assert.equal(verdict.vsize, vsize(parseTransaction(spend.raw)));
      assert.ok(await listed(stage, spend.txid));
    },
  },
  {
    id: 'submit/transaction/already-in-the-mempool-is-a-success',
    needs: ['submit-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      const again = await mempool().submit(spend.raw, NO_BOUNDS, signal());
      assert.equal(again.accepted, true);
      assert.equal(again.alreadyKnown, true);
    },
  },
  {
    id: 'submit/transaction/already-in-the-chain',
    needs: ['submit-transaction'],
    run: async ({ mempool, mine, subject, signal }) => {
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      await mine(1);
      // Known is known: a node may count the chain as well, or refuse; what it may not do is take it in once more.
      const again = await mempool()
        .submit(spend.raw, NO_BOUNDS, signal())
        .catch(async (error: unknown) => await rejects(Promise.reject(error), 'TRANSACTION_REJECTED'));
      if ('alreadyKnown' in again) assert.equal(again.alreadyKnown, true);
      assert.equal(await mempool().getRaw(spend.txid, signal()), undefined);
    },
  },
  {
    id: 'submit/transaction/garbage',
    needs: ['submit-transaction'],
    run: async ({ mempool, signal }) => {
      await rejects(mempool().submit(Uint8Array.of(1, 2, 3, 4, 5), NO_BOUNDS, signal()), 'INVALID_REQUEST');
    },
  },
  {
    id: 'submit/transaction/empty',
    needs: ['submit-transaction'],
    run: async ({ mempool, signal }) => {
      await rejects(mempool().submit(new Uint8Array(), NO_BOUNDS, signal()), 'INVALID_REQUEST');
    },
  },
  {
    id: 'submit/transaction/cut-short',
    needs: ['submit-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const { raw } = await subject.spend();
      await rejects(mempool().submit(raw.subarray(0, raw.byteLength - 1), NO_BOUNDS, signal()), 'INVALID_REQUEST');
    },
  },
  {
    id: 'submit/transaction/missing-inputs',
    needs: ['submit-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const raw = missingInputs(await subject.spend());
      await rejects(mempool().submit(raw, NO_BOUNDS, signal()), 'TRANSACTION_REJECTED');
    },
  },
  {
    id: 'submit/transaction/bad-signature',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await stage.subject.spend();
      await rejects(stage.mempool().submit(badlySigned(spend), NO_BOUNDS, stage.signal()), 'TRANSACTION_REJECTED');
      assert.equal(await listed(stage, spend.txid), false);
      // The good twin has the same txid and must not suffer for the bad one.
      const verdict = await stage.mempool().submit(spend.raw, NO_BOUNDS, stage.signal());
      assert.equal(verdict.accepted, true);
    },
  },
  {
    id: 'submit/transaction/coinbase',
    needs: ['submit-transaction'],
    run: async ({ mempool, node, tip, signal }) => {
      const { transactions } = parseBlock((await node.chain.getBlock((await tip()).hash, signal())).raw);
      const coinbase = required(transactions[0], 'a block without coinbase');
      // Another lock time makes it one that no block holds.
      const raw = serializeTransaction({ ...coinbase, lockTime: coinbase.lockTime + 1 }, { witness: true });
      await rejects(mempool().submit(raw, NO_BOUNDS, signal()), 'TRANSACTION_REJECTED');
    },
  },
  {
    id: 'submit/bounds/fee-rate-too-high',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await stage.subject.spend();
      const bounds = { maxFeeRateSatPerKvb: TINY_FEE_RATE, maxBurnSats: 0n };
      await rejects(stage.mempool().submit(spend.raw, bounds, stage.signal()), 'FEE_TOO_HIGH');
      assert.equal(await listed(stage, spend.txid), false);
    },
  },
  {
    id: 'submit/bounds/fee-rate-within',
    needs: ['submit-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const spend = await subject.spend();
      const bounds = { maxFeeRateSatPerKvb: 10_000_000n, maxBurnSats: 0n };
      assert.equal((await mempool().submit(spend.raw, bounds, signal())).accepted, true);
    },
  },
  {
    id: 'submit/bounds/fee-rate-bound-beyond-any-fee',
    needs: ['submit-transaction'],
    run: async ({ mempool, subject, signal }) => {
      // Bitcoin Core refuses bounds of 1 BTC/kvB and more as such; to a caller they are just wide ones.
      const spend = await subject.spend();
      const bounds = { maxFeeRateSatPerKvb: 1_000_000_000n, maxBurnSats: 0n };
      assert.equal((await mempool().submit(spend.raw, bounds, signal())).accepted, true);
    },
  },
  {
    id: 'submit/bounds/burn-too-high',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const spend = await stage.subject.spend({ burn: true });
      const bounds = { maxFeeRateSatPerKvb: 0n, maxBurnSats: burned(spend) - 1n };
      await rejects(stage.mempool().submit(spend.raw, bounds, stage.signal()), 'BURN_TOO_HIGH');
      assert.equal(await listed(stage, spend.txid), false);
    },
  },
  {
    id: 'submit/bounds/burn-within',
    needs: ['submit-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const spend = await subject.spend({ burn: true });
      const bounds = { maxFeeRateSatPerKvb: 0n, maxBurnSats: burned(spend) };
      assert.equal((await mempool().submit(spend.raw, bounds, signal())).accepted, true);
    },
  },
  {
    id: 'submit/package/parent-and-child',
    needs: ['submit-package'],
    run: async (stage) => {
      const parent = await stage.subject.spend();
      const child = await stage.subject.spend({ parent });
      const verdicts = await stage.mempool().submitPackage([parent.raw, child.raw], NO_BOUNDS, stage.signal());
      assert.deepEqual(
        verdicts.map((verdict) => [verdict.accepted, Uint8Array.from(verdict.txid)]),
        [
          [true, Uint8Array.from(parent.txid)],
          [true, Uint8Array.from(child.txid)],
        ],
      );
      assert.ok((await listed(stage, parent.txid)) && (await listed(stage, child.txid)));
      const entry = required(await stage.mempool().getEntry(child.txid, stage.signal()), 'the child has no entry');
      assert.equal(entry.ancestorCount, 2);
    },
  },
  {
    id: 'submit/package/bad-child',
    needs: ['submit-package'],
    run: async (stage) => {
      const parent = await stage.subject.spend();
      const child = badlySigned(await stage.subject.spend({ parent }));
      // The port lets an adapter tell per transaction or refuse the whole; silence would be wrong.
      const verdicts = await stage
        .mempool()
        .submitPackage([parent.raw, child], NO_BOUNDS, stage.signal())
        .catch(async (error: unknown) => {
          await rejects(Promise.reject(error), 'TRANSACTION_REJECTED');
          return undefined;
        });
      if (verdicts === undefined) return;
      assert.equal(verdicts[1]?.accepted, false);
      assert.notEqual(verdicts[1]?.rejectReason, '');
    },
  },
  {
    id: 'submit/test/accepted-and-nothing-changes',
    needs: ['test-transaction'],
    run: async (stage) => {
      const spend = await stage.subject.spend();
      const before = await stage.mempool().getSize(stage.signal());
      const [verdict] = await stage.mempool().test([spend.raw], NO_BOUNDS, stage.signal());
      assert.equal(verdict?.accepted, true);
      assert.equal(verdict?.vsize, vsize(parseTransaction(spend.raw)));
      assert.ok((verdict?.feeSats ?? 0n) > 0n);
      assert.equal(await listed(stage, spend.txid), false);
      assert.deepEqual(await stage.mempool().getSize(stage.signal()), before);
    },
  },
  {
    id: 'submit/test/rejected-with-the-nodes-reason',
    needs: ['test-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const raw = missingInputs(await subject.spend());
      const [verdict] = await mempool().test([raw], NO_BOUNDS, signal());
      assert.equal(verdict?.accepted, false);
      assert.notEqual(verdict?.rejectReason, '');
    },
  },
  {
    id: 'submit/test/bad-signature',
    needs: ['test-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const [verdict] = await mempool().test([badlySigned(await subject.spend())], NO_BOUNDS, signal());
      assert.equal(verdict?.accepted, false);
    },
  },
  {
    id: 'submit/test/already-in-the-mempool',
    needs: ['test-transaction'],
    run: async ({ mempool, subject, signal }) => {
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      const [verdict] = await mempool().test([spend.raw], NO_BOUNDS, signal());
      assert.equal(verdict?.alreadyKnown, true);
      assert.equal(verdict?.accepted, true);
    },
  },
  {
    id: 'submit/test/garbage',
    needs: ['test-transaction'],
    run: async ({ mempool, signal }) => {
      await rejects(mempool().test([Uint8Array.of(1, 2, 3)], NO_BOUNDS, signal()), 'INVALID_REQUEST');
    },
  },
];
