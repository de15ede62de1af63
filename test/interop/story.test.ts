import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createBtcdNode } from '../../src/node/btcd/node.js';
import { builtExamples, type StoryNode, tellChainStory } from '../story/chain-story.js';
import { requireToolchain } from '../toolchain.js';
import { btcdAvailable, startBtcd } from './btcd.js';
import { createBtcdHands } from './btcd-subject.js';
import { createWallet } from './wallet.js';

const missing = builtExamples().find((example) => example.missing !== undefined)?.missing;
const examples = requireToolchain(
  'the example modules',
  missing === undefined ? { available: true } : { available: false, reason: missing },
);
const btcdTool = requireToolchain('btcd', await btcdAvailable());

/** A real btcd on regtest; the truth is what its own RPC says. */
async function btcdNode(): Promise<StoryNode> {
  const dir = mkdtempSync(join(tmpdir(), 'mb-'));
  const wallet = createWallet(new Uint8Array(32).fill(12));
  const btcd = await startBtcd({ dir, tls: true, txindex: true, miningAddress: wallet.address });
  const hands = createBtcdHands(btcd, wallet);
  const node = createBtcdNode(
    {
      url: btcd.url,
      user: btcd.user,
      password: btcd.pass,
      tls: true,
      tlsCa: btcd.certFile,
      network: 'regtest',
      websocket: true,
      maxCallsInFlight: 2,
    },
    { clock: createSystemClock(), logger: createSilentLogger(), random: Math.random },
  );
  return {
    port: () => node,
    mine: (count) => hands.mine(count),
    reorg: (depth) => hands.reorg(depth),
    spend: async () => (await hands.spend()).raw,
    async restart() {
      await btcd.kill9();
      await btcd.start();
    },
    height: () => btcd.rpc<number>('getblockcount'),
    hashAt: (height) => btcd.rpc<string>('getblockhash', [height]),
    hasTransaction: async (txid) => (await btcd.rpc<string[]>('getrawmempool')).includes(txid),
    async dispose() {
      await btcd.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

describe.skipIf(examples.skip || btcdTool.skip)('three languages follow one chain', () => {
  it('on a real btcd, killed and started again', async () => tellChainStory(await btcdNode()), 900_000);
});
