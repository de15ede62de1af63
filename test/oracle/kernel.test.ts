import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseBlock } from '../../src/core/bitcoin/block.js';
import { blockHash } from '../../src/core/bitcoin/header.js';
import { hashToDisplay, toHex } from '../../src/core/bytes.js';
import { scriptKind } from '../../src/node/devchain/script.js';
import {
  type Bench,
  changedBlock,
  coinOf,
  createForeignWallet,
  type ForeignCoin,
  fund,
  groups,
  never,
  nextBlock,
  rawOf,
  startBench,
  unsigned,
} from '../node/devchain/bench.js';
import { BROKEN_BLOCKS } from '../node/devchain/broken-blocks.js';
import { requireToolchain } from '../toolchain.js';
import { type Engine, enginePresence, startEngine } from './engine.js';

const engineTool = requireToolchain('libbitcoinkernel', await enginePresence());

/** Gives the engine every block that the devchain has connected since the last call, in their order. */
function follower(bench: Bench, engine: Engine) {
  let told = 0;
  return async (): Promise<number> => {
    const fresh = bench.events.slice(told);
    told = bench.events.length;
    let judged = 0;
    for (const event of fresh) {
      if (event.type !== 'BlockConnected') continue;
      const { raw } = await bench.devchain.chain.getBlock(event.hash, never);
      const verdict = await engine.judge(raw);
      expect(verdict.accepted, `block ${event.height} ${hashToDisplay(event.hash)}: ${verdict.result}`).toBe(true);
      judged += 1;
    }
    return judged;
  };
}

describe.skipIf(engineTool.skip)("Bitcoin Core's engine", () => {
  describe('on a run of 500 blocks', () => {
    let bench: Bench;
    let engine: Engine;
    beforeAll(async () => {
      bench = await startBench(0);
      engine = await startEngine();
    });
    afterAll(async () => {
      await engine.close();
      await bench.devchain.stop();
    });

    it('accepts every block, with transactions and reorganisations, and has the same tip', async () => {
      const { control, chain } = bench.devchain;
      const follow = follower(bench, engine);
      const spent = { p2tr: 0, p2wpkh: 0, coinbases: 0 };
      let judged = 0;
      await control.mine(100);
      while (control.height() < 500) {
        await control.spend(2);
        bench.clock.advanceS(300);
        const [hash] = await control.mine(1);
        await count(hash);
        // Blocks of several shapes: empty ones, full ones, gaps in time.
        if (control.height() % 50 === 0) await control.mine(10);
        if (control.height() % 120 === 0) judged += await follow();
      }
      judged += await follow();
      await control.spend(3);
      await control.mine(1);
      judged += await follow();
      const { connected } = await control.reorg(6);
      judged += await follow();
      await control.mine(3);
      judged += await follow();
      expect(connected).toHaveLength(7);
      expect(judged).toBeGreaterThanOrEqual(500);
      expect(spent.p2tr).toBeGreaterThan(100);
      expect(spent.p2wpkh).toBeGreaterThan(100);
      expect(spent.coinbases).toBeGreaterThan(50);
      const state = await chain.getState(never);
      // A block known already is none of news, and its answer tells the tip.
      const { raw } = await chain.getBlock(state.tip.hash, never);
      expect(await engine.judge(raw)).toMatchObject({ tip: toHex(state.tip.hash), height: state.tip.height });

      async function count(hash: Uint8Array = new Uint8Array(0)): Promise<void> {
        const block = parseBlock((await chain.getBlock(hash, never)).raw);
        for (const { inputs } of block.transactions.slice(1)) {
          for (const { outpoint } of inputs) {
            const source = await chain.getTransaction(outpoint.txid, undefined, never);
            const { output } = coinOf(source.raw, outpoint.index);
            const kind = scriptKind(output.scriptPubkey);
            if (kind === 'p2tr' || kind === 'p2wpkh') spent[kind] += 1;
            if (toHex(source.raw.subarray(7, 39)) === '00'.repeat(32)) spent.coinbases += 1;
          }
        }
      }
    });

    it('refuses the next block with a flipped bit, and accepts it without', async () => {
      await bench.devchain.control.spend(2);
      const raw = await nextBlock(bench.devchain);
      const before = (await bench.devchain.chain.getState(never)).tip;
      // In the merkle root, in a signature, in the witness commitment: everywhere something must notice.
      for (const at of [40, Math.floor(raw.length / 2), raw.length - 30]) {
        const damaged = raw.with(at, (raw[at] ?? 0) ^ 1);
        expect(await engine.judge(damaged)).toMatchObject({ accepted: false, tip: toHex(before.hash) });
        const own = await groups(bench.devchain).mining.submitBlock(damaged, never);
        expect(own.outcome).toBe('rejected');
      }
      expect(await groups(bench.devchain).mining.submitBlock(raw, never)).toEqual({ outcome: 'accepted' });
      expect(await engine.judge(raw)).toMatchObject({ accepted: true, tip: toHex(blockHash(raw.subarray(0, 80))) });
    });
  });

  describe('and the devchain agree', () => {
    let bench: Bench;
    let engine: Engine;
    let follow: () => Promise<number>;
    let taproot: ForeignCoin;
    let keyHash: ForeignCoin;
    const wallet = createForeignWallet();

    beforeAll(async () => {
      bench = await startBench(110);
      taproot = await fund(bench.devchain, wallet.p2tr);
      keyHash = await fund(bench.devchain, wallet.p2wpkh);
      engine = await startEngine();
      follow = follower(bench, engine);
      await follow();
    });
    afterAll(async () => {
      await engine.close();
      await bench.devchain.stop();
    });

    for (const { rule, make } of BROKEN_BLOCKS) {
      it(`on refusing: ${rule}`, async () => {
        const raw = await make(bench, { taproot, keyHash });
        expect((await groups(bench.devchain).mining.submitBlock(raw, never)).outcome).toBe('rejected');
        const verdict = await engine.judge(raw);
        const { tip } = await bench.devchain.chain.getState(never);
        expect(verdict).toMatchObject({ accepted: false, tip: toHex(tip.hash) });
      });
    }

    /** Puts transactions in the next block and expects both to take it. */
    async function bothAccept(make: (draft: { transactions: ReturnType<typeof parseBlock>['transactions'] }) => void) {
      const raw = changedBlock(await nextBlock(bench.devchain), make);
      expect(await groups(bench.devchain).mining.submitBlock(raw, never)).toEqual({ outcome: 'accepted' });
      expect(await follow()).toBe(1);
    }

    for (const kind of ['p2tr', 'p2wpkh'] as const) {
      const types = [0x01, 0x02, 0x03, 0x81, 0x82, 0x83, ...(kind === 'p2tr' ? [0x00] : [0x00, 0x21, 0x44, 0xff])];
      for (const type of types) {
        it(`on accepting ${kind} inputs signed with hash type 0x${type.toString(16).padStart(2, '0')}`, async () => {
          const coins = [await fund(bench.devchain, wallet[kind]), await fund(bench.devchain, wallet[kind])];
          await follow();
          const outputs = [1_000_000n, 2_000_000n, 3_000_000n].map((valueSats) => ({
            valueSats,
            scriptPubkey: wallet.p2tr,
          }));
          const signed = wallet.sign(unsigned(coins, outputs), coins, type);
          await bothAccept((draft) => draft.transactions.push(signed));
        });
      }
    }

    it('on accepting a mixed transaction, a chain within the block, and lock times that are reached', async () => {
      const coins = [await fund(bench.devchain, wallet.p2tr), await fund(bench.devchain, wallet.p2wpkh)];
      await follow();
      const height = bench.devchain.control.height();
      const medianTime = (await bench.devchain.chain.getState(never)).medianTimeUnixS;
      const outputs = [{ valueSats: 5_000_000n, scriptPubkey: wallet.p2wpkh }];
      // The younger coin has one confirmation when the next block is made: two heights are not reached, one is.
      const parent = wallet.sign(unsigned(coins, outputs, { sequence: 1, lockTime: height }), coins);
      const coin = coinOf(rawOf(parent), 0);
      const child = wallet.sign(
        unsigned([coin], [{ valueSats: 4_000_000n, scriptPubkey: Uint8Array.of(0x51) }], { lockTime: medianTime - 1 }),
        [coin],
      );
      const loose = coinOf(rawOf(child), 0);
      const last = unsigned([loose], [{ valueSats: 3_000_000n, scriptPubkey: wallet.p2tr }]);
      await bothAccept((draft) => draft.transactions.push(parent, child, last));
    });

    it('on a high S, which blocks may hold', async () => {
      const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
      const coin = await fund(bench.devchain, wallet.p2wpkh);
      await follow();
      const signed = wallet.sign(unsigned([coin], [{ valueSats: 1_000_000n, scriptPubkey: wallet.p2tr }]), [coin]);
      const witness = signed.inputs[0]?.witness ?? [];
      const signature = witness[0] ?? new Uint8Array(0);
      const rEnd = 4 + (signature[3] ?? 0);
      const s = order - BigInt(`0x${toHex(signature.subarray(rEnd + 2, -1))}`);
      const body = Uint8Array.of(
        ...signature.subarray(2, rEnd),
        2,
        33,
        0,
        ...Buffer.from(s.toString(16).padStart(64, '0'), 'hex'),
      );
      witness[0] = Uint8Array.of(0x30, body.length, ...body, 1);
      await bothAccept((draft) => draft.transactions.push(signed));
    });

    it('on relative locks of seconds, reached and missed by one step', async () => {
      const coin = await fund(bench.devchain, wallet.p2tr);
      for (let i = 0; i < 12; i++) {
        bench.clock.advanceS(512);
        await bench.devchain.control.mine(1);
      }
      await follow();
      const pay = (steps: number) => {
        const outputs = [{ valueSats: 1_000_000n, scriptPubkey: wallet.p2tr }];
        return wallet.sign(unsigned([coin], outputs, { sequence: 0x0040_0000 | steps }), [coin]);
      };
      let reached = 0;
      for (let steps = 20; steps >= 0; steps--) {
        const raw = changedBlock(await nextBlock(bench.devchain), (draft) => draft.transactions.push(pay(steps)));
        const own = await groups(bench.devchain).mining.submitBlock(raw, never);
        expect((await engine.judge(raw)).accepted, `${steps} steps`).toBe(own.outcome === 'accepted');
        if (own.outcome === 'accepted') {
          reached = steps;
          break;
        }
      }
      expect(reached).toBeGreaterThan(0);
    });
  });
});
