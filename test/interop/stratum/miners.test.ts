/** Other people's software mines on the operator's own node, through the sandbox. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { hashToDisplay, toHex } from '../../../src/core/bytes.js';
import { enginePresence } from '../../oracle/engine.js';
import { sandboxToolchain } from '../../sandbox/spawn-module.js';
import { requireToolchain } from '../../toolchain.js';
import { btcdAvailable } from '../btcd.js';
import { createBtcdHands } from '../btcd-subject.js';
import { createWallet } from '../wallet.js';
import { stratumPresence } from './apps.js';
import { blocksFrom, judgeChain, type MinedBlock } from './mined-blocks.js';
import { EXAMPLE_KEYS, startPool, startTranslator } from './programs.js';
import { eventually, type Rig, startRig, TAG } from './rig.js';
import { startV1Miner } from './v1-miner.js';

const tools = [
  requireToolchain('btcd', await btcdAvailable()),
  requireToolchain('the Stratum V2 programs', stratumPresence(true)),
  requireToolchain('libbitcoinkernel', await enginePresence()),
  await sandboxToolchain(),
];

/** Blocks that a miner has to find before a test is content. */
const WANTED = 5;
/** Beginning of the script that commits to witnesses. @see BIP 141 */
const COMMITMENT = '6a24aa21a9ed';

describe.skipIf(tools.some(({ skip }) => skip))('unmodified Stratum software on a real btcd', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.dispose());

  /** Mines behind this server until so many of the miner's own blocks are in the chain; gives those. */
  async function mineBehind(port: number, worker: string): Promise<MinedBlock[]> {
    const before = await rig.btcd.rpc<number>('getblockcount');
    const miner = await startV1Miner({ port, worker, sharesPerSecond: 2 });
    onTestFinished(() => miner.stop());
    const own = (blocks: MinedBlock[]) => blocks.filter(({ hash }) => miner.hashes.includes(hash));
    const look = async () => own(await blocksFrom(rig.btcd, before + 1));
    const found = await Promise.race([
      eventually('blocks of the miner', look, (blocks) => blocks.length >= WANTED),
      miner.lost,
    ]);
    miner.stop();
    expect(miner.accepted).toBeGreaterThanOrEqual(WANTED);
    return found;
  }

  it('translator_sv2 and a miner of Stratum V1 find blocks with our tag and payout, witnesses and all', async () => {
    const { raw, txid } = await createBtcdHands(rig.btcd, rig.wallet).spend();
    await rig.btcd.rpc('sendrawtransaction', [toHex(raw)]);
    const pool = { port: rig.poolPort, publicKey: rig.authority };
    const translator = await startTranslator({ dir: rig.dir, pool, identity: 'story' });
    onTestFinished(() => translator.stop());
    const found = await mineBehind(translator.port, 'v1-worker');
    for (const { coinbaseText, outputs } of found) {
      expect(coinbaseText).toContain(TAG);
      expect(outputs[0]?.script).toBe(toHex(rig.wallet.scriptPubkey));
      expect(outputs.some(({ script }) => script.startsWith(COMMITMENT))).toBe(true);
    }
    // The transaction that waited is in one of them, and nowhere else.
    const holders = await blocksFrom(rig.btcd, found[0]?.height ?? 0);
    const ids = await Promise.all(
      holders.map(async ({ hash }) => (await rig.btcd.rpc<{ tx: string[] }>('getblock', [hash, 1])).tx),
    );
    expect(ids.flat()).toContain(hashToDisplay(txid));
    // The node's own word for the tip is a block of the miner's.
    expect(holders.at(-1)?.hash).toBe(await rig.btcd.rpc('getbestblockhash'));
  });

  it('pool_sv2 works on our templates, and its miners find blocks with its own tag and payout', async () => {
    const own = createWallet(new Uint8Array(32).fill(33));
    const provider = { port: rig.templatePort, publicKey: rig.authority };
    const pool = await startPool({ dir: rig.dir, provider, payoutAddress: own.address, tag: 'somebody else' });
    onTestFinished(() => pool.stop());
    const upstream = { port: pool.port, publicKey: EXAMPLE_KEYS.publicKey };
    const translator = await startTranslator({ dir: rig.dir, pool: upstream, identity: 'guest' });
    onTestFinished(() => translator.stop());
    const found = await mineBehind(translator.port, 'v1-guest');
    for (const { coinbaseText, outputs } of found) {
      expect(coinbaseText).toContain('somebody else');
      expect(outputs.map(({ script }) => script)).toContain(toHex(own.scriptPubkey));
    }
  });

  it("Bitcoin Core's engine accepts every block of it", async () => {
    const blocks = await blocksFrom(rig.btcd, 1);
    expect(await judgeChain(blocks)).toEqual([]);
  });
});
