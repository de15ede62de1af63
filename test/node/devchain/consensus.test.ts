import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Bench,
  changedBlock,
  createForeignWallet,
  fund,
  groups,
  never,
  nextBlock,
  rawOf,
  startBench,
  unbounded,
  unsigned,
} from './bench.js';
import { BROKEN_BLOCKS, type Material } from './broken-blocks.js';

describe('consensus rules of the devchain', () => {
  let bench: Bench;
  let material: Material;
  const wallet = createForeignWallet();

  beforeAll(async () => {
    bench = await startBench(110);
    const taproot = await fund(bench.devchain, wallet.p2tr);
    material = { taproot, keyHash: await fund(bench.devchain, wallet.p2wpkh) };
  });
  afterAll(() => bench.devchain.stop());

  for (const { rule, reason, make } of BROKEN_BLOCKS) {
    it(`refuses: ${rule}`, async () => {
      const { chain, mining } = groups(bench.devchain);
      const before = await chain.getState(never);
      bench.fresh();
      const verdict = await mining.submitBlock(await make(bench, material), never);
      expect(verdict.outcome).toBe('rejected');
      expect(verdict).toMatchObject({ reason: expect.stringContaining(reason) });
      expect(await chain.getState(never)).toEqual(before);
      expect(bench.fresh()).toEqual([]);
    });
  }

  it('refuses a block two hours and a bit ahead of the clock, and takes it later', async () => {
    const { mining } = groups(bench.devchain);
    const early = changedBlock(await nextBlock(bench.devchain), (draft) => {
      draft.header.timeUnixS = Math.floor(bench.clock.unixMs() / 1000) + 7_201;
    });
    expect(await mining.submitBlock(early, never)).toEqual({ outcome: 'rejected', reason: 'time-too-new' });
    bench.clock.advanceS(1);
    expect(await mining.submitBlock(early, never)).toEqual({ outcome: 'accepted' });
    bench.clock.advanceS(7_200);
  });

  it('refuses by name what it cannot verify', async () => {
    const { mining } = groups(bench.devchain);
    // P2WSH of OP_TRUE: valid for anybody who can run scripts.
    const script = Uint8Array.from(
      Buffer.from('00204ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260', 'hex'),
    );
    const coin = await fund(bench.devchain, script);
    const valueSats = coin.output.valueSats - 1_000n;
    const spend = unsigned([coin], [{ valueSats, scriptPubkey: wallet.p2tr }]);
    const inputs = spend.inputs.map((input) => ({ ...input, witness: [Uint8Array.of(0x51)] }));
    const block = changedBlock(await nextBlock(bench.devchain), (draft) => {
      draft.transactions.push({ ...spend, inputs });
    });
    const verdict = await mining.submitBlock(block, never);
    expect(verdict).toEqual({ outcome: 'rejected', reason: 'devchain-unsupported-script' });
    const tested = await groups(bench.devchain).mempool.test([rawOf({ ...spend, inputs })], unbounded, never);
    expect(tested[0]).toMatchObject({ accepted: false, rejectReason: 'non-verifiable-script' });
  });

  it('refuses bytes that are no block with INVALID_REQUEST', async () => {
    const raw = await nextBlock(bench.devchain);
    for (const bytes of [new Uint8Array(0), raw.subarray(0, 80), raw.subarray(0, -1), Uint8Array.of(...raw, 0)]) {
      await expect(groups(bench.devchain).mining.submitBlock(bytes, never)).rejects.toMatchObject({
        reason: 'INVALID_REQUEST',
      });
    }
  });

  it('refuses a block with any single bit of its header flipped', async () => {
    const raw = await nextBlock(bench.devchain);
    for (let bit = 0; bit < 80 * 8; bit += 7) {
      const damaged = raw.with(bit >> 3, (raw[bit >> 3] ?? 0) ^ (1 << (bit & 7)));
      const verdict = await groups(bench.devchain).mining.submitBlock(damaged, never);
      // Version and time may change and leave a valid header if the hash happens to be low; the flip is then another block.
      const free = bit < 32 || (bit >= 68 * 8 && bit < 72 * 8) || bit >= 76 * 8;
      if (!free) expect(verdict.outcome, `bit ${bit}`).toBe('rejected');
    }
  });
});
