import { afterAll, describe, it } from 'vitest';
import { defineNodeApiSuite } from '../../conformance/node-api/suite.js';
import type { NodeFeature } from '../../src/node/node-api.js';
import { requireToolchain } from '../toolchain.js';
import { btcdAvailable } from './btcd.js';
import { createBtcdSubject } from './btcd-subject.js';

const toolchain = requireToolchain('btcd', await btcdAvailable());
const runner = {
  describe: toolchain.skip ? describe.skip : describe,
  it: (title: string, run: () => Promise<void>) => it(title, run),
  afterAll,
};

const features: readonly NodeFeature[] = [
  'utxo',
  'mempool',
  'submit-transaction',
  'test-transaction',
  'fee-estimate',
  'network',
  'mining-template',
  'submit-block',
];
const btcd = { features, restart: true, stall: true, atomicReorg: true };

defineNodeApiSuite(
  { ...btcd, name: 'btcd over TLS', create: async () => await createBtcdSubject({ tls: true }), txindex: true },
  runner,
);

defineNodeApiSuite(
  {
    ...btcd,
    name: 'btcd without TLS and txindex, polling alone',
    create: async () => await createBtcdSubject({ tls: false, txindex: false, options: { websocket: false } }),
    txindex: false,
  },
  runner,
);
