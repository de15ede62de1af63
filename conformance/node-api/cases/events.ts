import assert from 'node:assert/strict';
import { measureBlock } from '../../../src/core/bitcoin/block.js';
import { equalBytes, hashToDisplay } from '../../../src/core/bytes.js';
import type { NodeEvent } from '../../../src/node/node-api.js';
import type { ChainStep } from '../recorder.js';
import { type Case, required, type Stage } from '../stage.js';

const NO_BOUNDS = { maxFeeRateSatPerKvb: 0n, maxBurnSats: 0n };
/** Deepest reorganisation of the suite; Bitcoin Core itself sets no bound. */
const DEEPEST_REORG = 6;
/** Time in which a second telling of the same thing would have come, milliseconds: polling adapters look every second. */
const ECHO_MS = 1_500;

function brief(step: ChainStep): [string, string] {
  return [step.type === 'BlockConnected' ? '+' : '-', hashToDisplay(step.hash)];
}

function connects(hashes: readonly Uint8Array[]): [string, string][] {
  return hashes.map((hash) => ['+', hashToDisplay(hash)]);
}

async function echo(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ECHO_MS));
}

async function awaitTransaction(
  stage: Stage,
  mark: number,
  type: NodeEvent['type'],
  id: Uint8Array,
): Promise<NodeEvent> {
  return await stage.recorder.until(`${type} of ${hashToDisplay(id)}`, () =>
    stage.recorder.since(mark).find((event) => event.type === type && 'txid' in event && equalBytes(event.txid, id)),
  );
}

function reorgCase(depth: number): Case {
  return {
    id: `events/reorg/depth-${depth}`,
    run: async ({ node, recorder, reorg, signal, tip }) => {
      const { height } = await tip();
      const old = await node.chain.getHeaders(height - depth + 1, depth, signal());
      const mark = recorder.events.length;
      const branch = await reorg(depth);
      assert.equal(branch.length, depth + 1);
      const undone = old.map((at): [string, string] => ['-', hashToDisplay(at.hash)]).reverse();
      assert.deepEqual(recorder.steps(mark).map(brief), [...undone, ...connects(branch)]);
    },
  };
}

/** What a node tells by itself. */
export const eventCases: Case[] = [
  {
    id: 'events/mine/one-block',
    run: async ({ mine, recorder, tip }) => {
      const mark = recorder.events.length;
      const hashes = await mine(1);
      const steps = recorder.steps(mark);
      assert.deepEqual(steps.map(brief), connects(hashes));
      assert.equal(steps[0]?.height, (await tip()).height);
    },
  },
  {
    id: 'events/mine/many-blocks-in-order',
    run: async ({ mine, recorder }) => {
      const mark = recorder.events.length;
      const hashes = await mine(25);
      assert.deepEqual(recorder.steps(mark).map(brief), connects(hashes));
    },
  },
  {
    id: 'events/mine/calls-in-quick-succession',
    run: async ({ recorder, settled, subject }) => {
      const mark = recorder.events.length;
      const hashes: Uint8Array[] = [];
      for (let i = 0; i < 10; i++) hashes.push(...(await subject.mine(1)));
      await settled(required(hashes.at(-1), 'nothing was mined'));
      assert.deepEqual(recorder.steps(mark).map(brief), connects(hashes));
    },
  },
  {
    id: 'events/connected/describes-the-block',
    needs: ['submit-transaction'],
    run: async ({ mempool, mine, node, recorder, signal, subject }) => {
      await mempool().submit((await subject.spend()).raw, NO_BOUNDS, signal());
      const mark = recorder.events.length;
      const hash = required((await mine(1))[0], 'nothing was mined');
      const { raw } = await node.chain.getBlock(hash, signal());
      const [step] = recorder.steps(mark);
      assert.ok(step?.type === 'BlockConnected');
      const { txCount, weight } = measureBlock(raw);
      assert.deepEqual(
        { txCount: step.txCount, sizeBytes: step.sizeBytes, weight: step.weight },
        { txCount, sizeBytes: raw.byteLength, weight },
      );
    },
  },
  {
    id: 'events/connected/told-once',
    run: async ({ mine, recorder }) => {
      const mark = recorder.events.length;
      const hashes = await mine(2);
      await echo();
      assert.deepEqual(recorder.steps(mark).map(brief), connects(hashes));
    },
  },
  ...Array.from({ length: DEEPEST_REORG }, (_, i) => reorgCase(i + 1)),
  {
    id: 'events/reorg/twice-in-a-row',
    run: async ({ recorder, settled, subject, tip }) => {
      const { height } = await tip();
      const mark = recorder.events.length;
      await subject.reorg(2);
      const branch = await subject.reorg(3);
      await settled(required(branch.at(-1), 'no branch'));
      assert.equal(recorder.tip()?.height, height + 2);
      // Which blocks of the first branch were seen depends on timing; that the walk holds together does not.
      const seen = recorder.steps(mark);
      const net = seen.reduce((sum, step) => sum + (step.type === 'BlockConnected' ? 1 : -1), 0);
      assert.equal(net, 2);
    },
  },
  {
    id: 'events/reorg/then-mining-goes-on',
    run: async ({ mine, recorder, reorg }) => {
      await reorg(2);
      const mark = recorder.events.length;
      const hashes = await mine(3);
      assert.deepEqual(recorder.steps(mark).map(brief), connects(hashes));
    },
  },
  {
    id: 'events/reorg/summary-follows-its-steps',
    needs: ['atomic-reorg'],
    run: async ({ node, recorder, reorg, signal, tip }) => {
      const old = await tip();
      const fork = await node.chain.getHash(old.height - 2, signal());
      const mark = recorder.events.length;
      const branch = await reorg(2);
      const told = await recorder.until('ChainReorg', () =>
        recorder.since(mark).find((event) => event.type === 'ChainReorg'),
      );
      assert.ok(told.type === 'ChainReorg');
      assert.deepEqual({ ...told.oldTip }, old);
      assert.deepEqual({ ...told.newTip }, { hash: branch.at(-1), height: old.height + 1 });
      assert.deepEqual({ ...told.fork }, { hash: fork, height: old.height - 2 });
      const kinds = recorder.since(mark).map((event) => event.type);
      assert.ok(kinds.indexOf('ChainReorg') > kinds.lastIndexOf('BlockConnected'));
      assert.equal(kinds.filter((kind) => kind === 'ChainReorg').length, 1);
    },
  },
  {
    id: 'events/reorg/no-summary-for-plain-mining',
    run: async ({ mine, recorder }) => {
      const mark = recorder.events.length;
      await mine(3);
      assert.ok(!recorder.since(mark).some((event) => event.type === 'ChainReorg'));
    },
  },
  {
    id: 'events/transaction/added-once',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const { mempool, recorder, signal, subject } = stage;
      const mark = recorder.events.length;
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      const event = await awaitTransaction(stage, mark, 'TransactionAdded', spend.txid);
      assert.ok(event.type === 'TransactionAdded' && event.mempoolCount >= 1);
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      await echo();
      const told = recorder.since(mark).filter((other) => other.type === 'TransactionAdded');
      assert.equal(told.filter((other) => equalBytes(other.txid, spend.txid)).length, 1);
    },
  },
  {
    id: 'events/transaction/fee-and-size-are-true-when-told',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const { mempool, recorder, signal, subject } = stage;
      const mark = recorder.events.length;
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      const entry = required(await mempool().getEntry(spend.txid, signal()), 'the entry is not there');
      const event = await awaitTransaction(stage, mark, 'TransactionAdded', spend.txid);
      assert.ok(event.type === 'TransactionAdded');
      if (event.feeSats !== undefined) assert.equal(event.feeSats, entry.feeSats);
      if (event.vsize !== undefined) assert.equal(event.vsize, entry.vsize);
    },
  },
  {
    id: 'events/transaction/removed-once-when-mined',
    needs: ['submit-transaction'],
    run: async (stage) => {
      const { mempool, mine, recorder, signal, subject } = stage;
      const mark = recorder.events.length;
      const spend = await subject.spend();
      await mempool().submit(spend.raw, NO_BOUNDS, signal());
      await awaitTransaction(stage, mark, 'TransactionAdded', spend.txid);
      await mine(1);
      const event = await awaitTransaction(stage, mark, 'TransactionRemoved', spend.txid);
      assert.ok(event.type === 'TransactionRemoved');
      assert.ok(event.reason === 'confirmed' || event.reason === 'unknown', event.reason);
      await echo();
      const told = recorder.since(mark).filter((other) => other.type === 'TransactionRemoved');
      assert.equal(told.filter((other) => equalBytes(other.txid, spend.txid)).length, 1);
      // Nothing of a block is told as new: it was in the mempool before, or it never was.
      const added = recorder.since(mark).filter((other) => other.type === 'TransactionAdded');
      assert.equal(added.filter((other) => equalBytes(other.txid, spend.txid)).length, 1);
    },
  },
  {
    id: 'events/transaction/refused-ones-are-not-told',
    needs: ['submit-transaction'],
    run: async ({ mempool, recorder, signal, subject }) => {
      const mark = recorder.events.length;
      const spend = await subject.spend();
      const bounds = { maxFeeRateSatPerKvb: 1n, maxBurnSats: 0n };
      await mempool()
        .submit(spend.raw, bounds, signal())
        .catch(() => undefined);
      await echo();
      const told = recorder.since(mark).filter((event) => event.type === 'TransactionAdded');
      assert.ok(!told.some((event) => equalBytes(event.txid, spend.txid)));
    },
  },
  {
    id: 'events/connected/calls-agree-at-that-moment',
    run: async ({ mine, node, recorder, signal }) => {
      const mark = recorder.events.length;
      await mine(5);
      for (const step of recorder.steps(mark)) {
        const at = await node.chain.getHeader(step.hash, signal());
        assert.equal(at.height, step.height);
        assert.deepEqual(Uint8Array.from(at.header), Uint8Array.from(step.header));
      }
    },
  },
];
