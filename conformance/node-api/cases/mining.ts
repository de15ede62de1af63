import assert from 'node:assert/strict';
import { iterateBlockTransactions } from '../../../src/core/bitcoin/block.js';
import { targetFromBits, uint256FromBytes } from '../../../src/core/bitcoin/target.js';
import { parseTransaction, txid, weight, wtxid } from '../../../src/core/bitcoin/transaction.js';
import { equalBytes } from '../../../src/core/bytes.js';
import type { BlockTemplate } from '../../../src/node/block-template.js';
import { mineTemplate, witnessCommitment } from '../mined-block.js';
import { type Case, rejects, required, type Stage } from '../stage.js';

const RULES = ['segwit'];
const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };
const FIRST_SUBSIDY_SATS = 5_000_000_000n;
/** Blocks between two halvings on regtest (Bitcoin Core and btcd). */
const REGTEST_HALVING = 150;

function subsidy(height: number): bigint {
  return FIRST_SUBSIDY_SATS >> BigInt(Math.floor(height / REGTEST_HALVING));
}

function holds(template: BlockTemplate, ids: readonly Uint8Array[]): boolean {
  return ids.every((id) => template.transactions.some((item) => equalBytes(item.txid, id)));
}

/** A template that holds these transactions. */
async function templateWith(stage: Stage, ids: readonly Uint8Array[]): Promise<BlockTemplate> {
  const first = await stage.mining().getTemplate(RULES, stage.signal());
  if (holds(first, ids)) return first;
  if (stage.profile.features.includes('submit-block')) {
    // A node may keep a template for a minute (btcd does), but none beyond its tip: an empty block moves that.
    const fees = first.transactions.reduce((sum, item) => sum + item.feeSats, 0n);
    const coinbaseValueSats = first.coinbaseValueSats - fees;
    const nothing = { coinbaseValueSats, transactions: [], witnessCommitmentScript: new Uint8Array() };
    const block = mineTemplate({ ...first, ...nothing }, { tag: 1 });
    assert.deepEqual(await stage.mining().submitBlock(block.raw, stage.signal()), { outcome: 'accepted' });
    await stage.settled(block.hash);
  }
  return await stage.eventually('the transactions in the template', async () => {
    const template = await stage.mining().getTemplate(RULES, stage.signal());
    return holds(template, ids) ? template : undefined;
  });
}

async function submitSpend({ mempool, subject, signal }: Stage): Promise<Uint8Array> {
  const spend = await subject.spend();
  await mempool().submit(spend.raw, NO_BOUNDS, signal());
  return spend.txid;
}

/** Templates and blocks. */
export const miningCases: Case[] = [
  {
    id: 'mining/template/builds-on-the-tip',
    needs: ['mining-template'],
    run: async ({ mine, mining, tip, signal }) => {
      await mine(1);
      const { hash, height } = await tip();
      const template = await mining().getTemplate(RULES, signal());
      assert.deepEqual(Uint8Array.from(template.previousHash), hash);
      assert.equal(template.height, height + 1);
    },
  },
  {
    id: 'mining/template/target-is-the-bits',
    needs: ['mining-template'],
    run: async ({ mining, signal }) => {
      const { bits, target } = await mining().getTemplate(RULES, signal());
      assert.equal(target.byteLength, 32);
      assert.equal(uint256FromBytes(target), targetFromBits(bits));
    },
  },
  {
    id: 'mining/template/times',
    needs: ['mining-template'],
    run: async ({ mining, node, signal }) => {
      const template = await mining().getTemplate(RULES, signal());
      const { medianTimeUnixS } = await node.chain.getState(signal());
      assert.ok(template.minTimeUnixS > medianTimeUnixS - 1);
      assert.ok(template.currentTimeUnixS >= template.minTimeUnixS);
    },
  },
  {
    id: 'mining/template/limits',
    needs: ['mining-template'],
    run: async ({ mining, signal }) => {
      const template = await mining().getTemplate(RULES, signal());
      assert.ok(template.sigopLimit > 0 && template.sizeLimit > 0);
      assert.equal(template.weightLimit, 4_000_000);
    },
  },
  {
    id: 'mining/template/coinbase-value-is-subsidy-plus-fees',
    needs: ['mining-template', 'submit-transaction'],
    run: async (stage) => {
      const ids = [await submitSpend(stage), await submitSpend(stage)];
      const template = await templateWith(stage, ids);
      const fees = template.transactions.reduce((sum, item) => sum + item.feeSats, 0n);
      assert.ok(fees > 0n);
      assert.equal(template.coinbaseValueSats, subsidy(template.height) + fees);
    },
  },
  {
    id: 'mining/template/transactions-are-what-they-say',
    needs: ['mining-template', 'submit-transaction'],
    run: async (stage) => {
      const template = await templateWith(stage, [await submitSpend(stage)]);
      for (const item of template.transactions) {
        const transaction = parseTransaction(item.raw);
        assert.deepEqual(Uint8Array.from(item.txid), txid(transaction));
        assert.deepEqual(Uint8Array.from(item.wtxid), wtxid(transaction));
        assert.equal(item.weight, weight(transaction));
        assert.ok(item.sigops >= 0);
      }
    },
  },
  {
    id: 'mining/template/depends-names-earlier-transactions',
    needs: ['mining-template', 'submit-transaction'],
    run: async (stage) => {
      const { mempool, subject, signal } = stage;
      const parent = await subject.spend();
      const child = await subject.spend({ parent });
      await mempool().submit(parent.raw, NO_BOUNDS, signal());
      await mempool().submit(child.raw, NO_BOUNDS, signal());
      const { transactions } = await templateWith(stage, [parent.txid, child.txid]);
      const parentAt = transactions.findIndex((item) => equalBytes(item.txid, parent.txid));
      const childAt = transactions.findIndex((item) => equalBytes(item.txid, child.txid));
      assert.deepEqual(transactions[childAt]?.depends, [parentAt]);
      transactions.forEach((item, index) => {
        for (const other of item.depends) assert.ok(other >= 0 && other < index);
      });
    },
  },
  {
    id: 'mining/template/witness-commitment',
    needs: ['mining-template', 'submit-transaction'],
    run: async (stage) => {
      const template = await templateWith(stage, [await submitSpend(stage)]);
      const expected = witnessCommitment(template.transactions.map((item) => item.wtxid));
      assert.deepEqual(Uint8Array.from(template.witnessCommitmentScript), expected);
    },
  },
  {
    id: 'mining/submit-block/accepted-becomes-the-tip',
    needs: ['mining-template', 'submit-block', 'submit-transaction'],
    run: async (stage) => {
      const id = await submitSpend(stage);
      const block = mineTemplate(await templateWith(stage, [id]));
      assert.deepEqual(await stage.mining().submitBlock(block.raw, stage.signal()), { outcome: 'accepted' });
      await stage.settled(block.hash);
      const { raw } = await stage.node.chain.getBlock(block.hash, stage.signal());
      assert.deepEqual(Uint8Array.from(raw), block.raw);
      assert.ok([...iterateBlockTransactions(raw)].some((item) => equalBytes(txid(item.transaction), id)));
    },
  },
  {
    id: 'mining/submit-block/duplicate',
    needs: ['submit-block'],
    run: async ({ mining, node, tip, signal }) => {
      const { raw } = await node.chain.getBlock((await tip()).hash, signal());
      assert.deepEqual(await mining().submitBlock(raw, signal()), { outcome: 'duplicate' });
    },
  },
  {
    id: 'mining/submit-block/rejected-with-the-nodes-reason',
    needs: ['mining-template', 'submit-block'],
    run: async ({ mining, tip, signal }) => {
      const before = await tip();
      const block = mineTemplate(await mining().getTemplate(RULES, signal()), { damage: 'merkle-root' });
      const verdict = await mining().submitBlock(block.raw, signal());
      assert.equal(verdict.outcome, 'rejected');
      assert.notEqual(verdict.outcome === 'rejected' ? verdict.reason : '', '');
      assert.deepEqual(await tip(), before);
    },
  },
  {
    id: 'mining/submit-block/garbage',
    needs: ['submit-block'],
    run: async ({ mining, signal }) => {
      await rejects(mining().submitBlock(Uint8Array.of(1, 2, 3), signal()), 'INVALID_REQUEST');
    },
  },
  {
    id: 'mining/submit-block/side-branch-is-inconclusive',
    needs: ['mining-template', 'submit-block'],
    run: async ({ mine, mining, signal, tip }) => {
      const block = mineTemplate(await mining().getTemplate(RULES, signal()));
      await mine(1);
      const before = await tip();
      const verdict = await mining().submitBlock(block.raw, signal());
      assert.ok(verdict.outcome === 'inconclusive' || verdict.outcome === 'accepted', JSON.stringify(verdict));
      assert.deepEqual(await tip(), before);
    },
  },
  {
    id: 'mining/new-tip/told-after-a-block',
    needs: ['mining-template'],
    run: async ({ mine, recorder }) => {
      const mark = recorder.events.length;
      const hash = required((await mine(1))[0], 'nothing was mined');
      const told = await recorder.until('NewTip', () =>
        recorder.since(mark).find((event) => event.type === 'NewTip' && equalBytes(event.previousHash, hash)),
      );
      assert.ok(told.type === 'NewTip');
      assert.equal(told.height, (recorder.tip()?.height ?? 0) + 1);
      assert.equal(told.coinbaseValueSats, subsidy(told.height));
    },
  },
  {
    id: 'mining/watch/new-tip-then-template',
    needs: ['mining-template'],
    run: async ({ mine, node, recorder }) => {
      assert.ok(node.watchTemplates !== undefined, 'mining-template is promised, watchTemplates is not there');
      const unwatch = node.watchTemplates(RULES);
      try {
        const mark = recorder.events.length;
        const hash = required((await mine(1))[0], 'nothing was mined');
        await recorder.until('TemplateUpdated', () =>
          recorder
            .since(mark)
            .find((event) => event.type === 'TemplateUpdated' && equalBytes(event.template.previousHash, hash)),
        );
        const order = recorder.since(mark).flatMap((event) => {
          if (event.type === 'NewTip' && equalBytes(event.previousHash, hash)) return ['NewTip'];
          if (event.type === 'TemplateUpdated' && equalBytes(event.template.previousHash, hash)) return ['Template'];
          return [];
        });
        assert.deepEqual(order.slice(0, 2), ['NewTip', 'Template']);
      } finally {
        unwatch();
      }
    },
  },
  {
    id: 'mining/watch/nothing-after-the-last-watcher',
    needs: ['mining-template'],
    run: async ({ mine, node, recorder }) => {
      const unwatch = node.watchTemplates?.(RULES);
      unwatch?.();
      unwatch?.();
      // What was under way may still arrive; after one block nothing new may begin.
      await mine(1);
      const mark = recorder.events.length;
      await mine(2);
      assert.ok(!recorder.since(mark).some((event) => event.type === 'TemplateUpdated'));
    },
  },
];
