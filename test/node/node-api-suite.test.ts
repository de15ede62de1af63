import { afterAll, describe, expect, it } from 'vitest';
import { type NodeApiProfile, nodeApiCases } from '../../conformance/node-api/index.js';
import { defineNodeApiSuite } from '../../conformance/node-api/suite.js';
import type { NodeFeature } from '../../src/node/node-api.js';
import { bitcoindSubject, createBitcoindBench } from './bitcoind-subject.js';
import { createDevchainSubject } from './devchain-subject.js';

const runner = { describe, it: (title: string, run: () => Promise<void>) => it(title, run), afterAll };

/** Cases below this number would mean that a group got lost. */
const LEAST_CASES = 100;

describe('the suite itself', () => {
  it('has unique ids of one form', () => {
    const ids = nodeApiCases().map((test) => test.id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z-]+\/[a-z-]+\/[a-z0-9-]+$/);
    expect(ids.length).toBeGreaterThanOrEqual(LEAST_CASES);
  });
});

const everywhere: readonly NodeFeature[] = [
  'utxo',
  'mempool',
  'submit-transaction',
  'submit-package',
  'test-transaction',
  'fee-estimate',
  'network',
  'mining-template',
  'submit-block',
];

defineNodeApiSuite(
  {
    name: 'devchain',
    create: createDevchainSubject,
    features: [...everywhere, 'queue-block'],
    txindex: true,
    restart: false,
    stall: false,
    atomicReorg: true,
  },
  runner,
);

const bitcoind = { features: [...everywhere, 'ban-peer'] as const, restart: true, stall: true, atomicReorg: true };
const profiles: NodeApiProfile[] = [
  {
    ...bitcoind,
    name: 'bitcoind double, ZMQ, REST, txindex',
    create: async () =>
      bitcoindSubject(await createBitcoindBench({ zmqTopics: ['sequence'], rest: true, txindex: true })),
    txindex: true,
  },
  {
    ...bitcoind,
    name: 'bitcoind double, ZMQ with every topic, without REST and txindex',
    create: async () =>
      bitcoindSubject(
        await createBitcoindBench({ zmqTopics: ['sequence', 'hashblock', 'rawblock', 'hashtx', 'rawtx'] }),
      ),
    txindex: false,
  },
  {
    ...bitcoind,
    name: 'bitcoind double, without ZMQ, long poll, REST',
    create: async () => bitcoindSubject(await createBitcoindBench({ zmqTopics: [], rest: true, txindex: true })),
    txindex: true,
  },
  {
    ...bitcoind,
    name: 'bitcoind double, without ZMQ, polling alone, without REST',
    create: async () =>
      bitcoindSubject(await createBitcoindBench({ zmqTopics: [], txindex: true }, { longPoll: false, rest: false })),
    txindex: true,
  },
];
for (const profile of profiles) defineNodeApiSuite(profile, runner);
