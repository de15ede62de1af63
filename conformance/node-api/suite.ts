import assert from 'node:assert/strict';
import { cancelCases } from './cases/cancel.js';
import { chainCases } from './cases/chain.js';
import { eventCases } from './cases/events.js';
import { identityCases } from './cases/identity.js';
import { lifecycleCases } from './cases/lifecycle.js';
import { mempoolCases } from './cases/mempool.js';
import { miningCases } from './cases/mining.js';
import { networkCases } from './cases/network.js';
import { restartCases } from './cases/restart.js';
import { submitCases } from './cases/submit.js';
import { transactionCases } from './cases/transactions.js';
import { utxoCases } from './cases/utxo.js';
import { applies, type Case, createStage, MATURE_HEIGHT, type Stage } from './stage.js';
import type { NodeApiProfile, SuiteRunner } from './subject.js';

/** Every case; ids are unique and never change their meaning. */
export function nodeApiCases(): Case[] {
  return [
    ...identityCases,
    ...chainCases,
    ...transactionCases,
    ...utxoCases,
    ...mempoolCases,
    ...submitCases,
    ...miningCases,
    ...networkCases,
    ...eventCases,
    ...cancelCases,
    ...restartCases,
    ...lifecycleCases,
  ];
}

/**
 * Defines the conformance tests of one adapter with the words of a test runner. Most cases share one subject in
 * sequence; those that end it get their own, afterwards.
 *
 * @param profile how to make the adapter, and what it promises
 * @param runner  `describe`, `it` and `afterAll` of vitest, jest or `node:test`
 */
export function defineNodeApiSuite(profile: NodeApiProfile, runner: SuiteRunner): void {
  runner.describe(`NodeApi: ${profile.name}`, () => {
    let shared: Promise<Stage> | undefined;
    const share = (): Promise<Stage> => {
      shared ??= openShared(profile);
      return shared;
    };

    const endShared = async (): Promise<void> => {
      const stage = await shared?.catch(() => undefined);
      shared = undefined;
      if (stage !== undefined) await end(stage);
    };

    const cases = nodeApiCases().filter((test) => applies(test, profile));
    for (const test of cases.filter(({ own }) => own === undefined)) {
      runner.it(test.id, () => runShared(test, share));
    }

    runner.it('events/whole-run/in-order', async () => {
      const stage = await share();
      const { hash } = await stage.tip();
      await stage.settled(hash);
    });

    for (const test of cases.filter(({ own }) => own !== undefined)) {
      runner.it(test.id, async () => {
        // the connections of the shared one come and go as it polls: nobody could count those of this one beside them
        await endShared();
        await runOwn(test, profile);
      });
    }

    runner.afterAll(endShared);
  });
}

async function openShared(profile: NodeApiProfile): Promise<Stage> {
  const stage = await createStage(profile);
  try {
    await stage.node.start(stage.recorder.listener, stage.signal());
    const { height } = await stage.tip();
    if (height < MATURE_HEIGHT) await stage.mine(MATURE_HEIGHT - height);
    return stage;
  } catch (error) {
    await end(stage);
    throw error;
  }
}

async function runShared(test: Case, share: () => Promise<Stage>): Promise<void> {
  const stage = await share();
  await test.run(stage);
  assert.deepEqual(stage.recorder.breaches, [], 'order of connects and disconnects');
}

async function runOwn(test: Case, profile: NodeApiProfile): Promise<void> {
  const stage = await createStage(profile);
  try {
    if (test.own === 'started') await stage.node.start(stage.recorder.listener, stage.signal());
    await test.run(stage);
    assert.deepEqual(stage.recorder.breaches, [], 'order of connects and disconnects');
  } finally {
    await end(stage);
  }
}

async function end(stage: Stage): Promise<void> {
  await stage.node.stop();
  await stage.subject.dispose();
}
