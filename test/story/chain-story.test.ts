import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { hashFromDisplay, hashToDisplay } from '../../src/core/bytes.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createDevchain, type Devchain } from '../../src/node/devchain/devchain.js';
import { createBitcoindBench } from '../node/bitcoind-subject.js';
import { requireToolchain } from '../toolchain.js';
import { builtExamples, type StoryNode, tellChainStory } from './chain-story.js';

const missing = builtExamples().find((example) => example.missing !== undefined)?.missing;
const { skip } = requireToolchain(
  'the example modules',
  missing === undefined ? { available: true } : { available: false, reason: missing },
);

/** What every devchain can tell of itself, whoever stands in front of it. */
function truthOf(chain: () => Devchain): Pick<StoryNode, 'height' | 'hashAt' | 'hasTransaction'> {
  const signal = new AbortController().signal;
  return {
    height: async () => chain().control.height(),
    hashAt: async (height) => hashToDisplay(await chain().chain.getHash(height, signal)),
    hasTransaction: async (txid) => {
      const found = await chain().mempool?.getRaw(hashFromDisplay(txid) ?? new Uint8Array(), signal);
      return found !== undefined;
    },
  };
}

/** The embedded default node, on disk, so that it lives on when its host is restarted. */
async function devchainNode(): Promise<StoryNode> {
  const dataDir = mkdtempSync(join(tmpdir(), 'mc-'));
  const make = (): Devchain => createDevchain({ clock: createSystemClock(), logger: createSilentLogger(), dataDir });
  let chain = make();
  let used = false;
  return {
    ...truthOf(() => chain),
    port() {
      if (used) chain = make();
      used = true;
      return chain;
    },
    mine: (count) => chain.control.mine(count),
    reorg: (depth) => chain.control.reorg(depth),
    async spend() {
      const raw = await chain.control.createSpend();
      if (raw === undefined) throw new Error('no matured coin');
      return raw;
    },
    restart: undefined,
    async dispose() {
      await chain.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** The bitcoind adapter against a double that speaks Bitcoin Core's dialect; it is a double, see its first comment. */
async function doubleNode(): Promise<StoryNode> {
  const bench = await createBitcoindBench({ zmqTopics: ['sequence', 'hashblock', 'rawtx'], rest: true });
  const chain = bench.devchain;
  return {
    ...truthOf(() => chain),
    port: () => bench.node,
    mine: (count) => chain.control.mine(count),
    reorg: (depth) => chain.control.reorg(depth),
    async spend() {
      const raw = await chain.control.createSpend();
      if (raw === undefined) throw new Error('no matured coin');
      return raw;
    },
    async restart() {
      await bench.double.stop();
      await chain.control.mine(2);
      await chain.control.reorg(1);
      await bench.double.start();
    },
    dispose: () => bench.dispose(),
  };
}

describe.skipIf(skip)('three languages follow one chain', () => {
  it('on the embedded devchain', async () => tellChainStory(await devchainNode()), 400_000);
  it(
    'on Bitcoin Core’s dialect (a double over devchain, with a real ZMQ publisher)',
    async () => tellChainStory(await doubleNode()),
    400_000,
  );
});
