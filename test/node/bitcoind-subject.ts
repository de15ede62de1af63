import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeApiSubject } from '../../conformance/node-api/subject.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createBitcoindNode } from '../../src/node/bitcoind/node.js';
import type { BitcoindOptions } from '../../src/node/bitcoind/options.js';
import type { Devchain } from '../../src/node/devchain/devchain.js';
import type { NodeApi } from '../../src/node/node-api.js';
import { type BitcoindDouble, type BitcoindDoubleOptions, startBitcoindDouble } from '../interop/bitcoind-double.js';
import { createDevchainSpender, createTestDevchain } from './devchain-subject.js';

/** A double, the chain behind it, and an adapter in front of it. */
export interface BitcoindBench {
  double: BitcoindDouble;
  devchain: Devchain;
  /** Not started. */
  node: NodeApi;
  dispose(): Promise<void>;
}

/** Looks often enough that a test need not wait seconds. */
const TEST_INTERVALS = { chainMs: 100, chainWhileToldMs: 1_000, mempoolMs: 100, mempoolWhileToldMs: 1_000 };

/** Sets up a double and an adapter to it. */
export async function createBitcoindBench(
  setup: Omit<BitcoindDoubleOptions, 'chain' | 'dataDir'>,
  options: Partial<BitcoindOptions> = {},
): Promise<BitcoindBench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'modhost-double-'));
  const devchain = createTestDevchain();
  const double = await startBitcoindDouble({ ...setup, chain: devchain, dataDir });
  const node = createBitcoindNode(
    {
      url: double.url,
      cookieFile: double.cookieFile,
      network: 'regtest',
      zmq: 'auto',
      rest: true,
      longPoll: true,
      maxCallsInFlight: 4,
      intervals: TEST_INTERVALS,
      ...options,
    },
    { clock: createSystemClock(), logger: createSilentLogger(), random: Math.random },
  );
  return {
    double,
    devchain,
    node,
    dispose: async () => {
      await node.stop();
      await double.dispose();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A subject of the suite over such a bench. */
export function bitcoindSubject({ double, devchain, node, dispose }: BitcoindBench): NodeApiSubject {
  return {
    node,
    mine: async (count) => await devchain.control.mine(count),
    reorg: async (depth) => (await devchain.control.reorg(depth)).connected,
    spend: createDevchainSpender(devchain),
    restart: async (whileDown) => {
      await double.stop();
      await whileDown?.();
      await double.start();
    },
    stall: async () => {
      const release = double.stall();
      return async () => release();
    },
    dispose,
  };
}
