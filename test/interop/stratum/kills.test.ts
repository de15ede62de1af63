/** The module under kill -9, again and again, while a miner counts what it was promised. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { blockHash } from '../../../src/core/bitcoin/header.js';
import { hashToDisplay } from '../../../src/core/bytes.js';
import type { NodeApi } from '../../../src/node/node-api.js';
import { sandboxToolchain } from '../../sandbox/spawn-module.js';
import { requireToolchain } from '../../toolchain.js';
import { btcdAvailable } from '../btcd.js';
import { stratumPresence } from './apps.js';
import { startProbe } from './programs.js';
import { eventually, startRig } from './rig.js';

const tools = [
  requireToolchain('btcd', await btcdAvailable()),
  requireToolchain('the Stratum V2 programs', stratumPresence()),
  await sandboxToolchain(),
];

/** Kills, and the pause between two, milliseconds; `npm run test:stratum-kills` takes those of the design. */
const KILLS = Number(process.env.MODHOST_STRATUM_KILLS ?? 5);
const PAUSE_MS = Number(process.env.MODHOST_STRATUM_KILL_PAUSE_MS ?? 3_000);
/** Shares per second of the miner: fewer in a long run, so that the module can tell all of them at once. */
const RATE = KILLS * PAUSE_MS > 60_000 ? 2 : 5;
/** Shares that the module tells at most. */
const MOST_TOLD = 5_000;
/** Longest time of the whole, milliseconds, beside the pauses. */
const ROOM_MS = 180_000;

describe.skipIf(tools.some(({ skip }) => skip))('the Stratum V2 module under kill -9', () => {
  it(
    `${KILLS} kills lose no acknowledged share and submit no block twice`,
    async () => {
      const submitted = new Map<string, number>();
      const rig = await startRig({
        wrapNode: (node) => counting(node, submitted),
        // what is killed comes back at once, however often
        host: { restartTimes: { firstMs: 100, maxMs: 100 } },
      });
      try {
        const miner = startProbe('mine', {
          ...{ connect: `127.0.0.1:${rig.poolPort}`, authority: rig.authority, identity: 'survivor' },
          ...{ 'per-second': RATE, reconnect: 'yes' },
        });
        const promised = (): string[] => miner.of('ack').flatMap(({ hashes }) => hashes as string[]);
        for (let kill = 0; kill < KILLS; kill += 1) {
          const before = promised().length;
          await miner.until(`shares after kill ${kill}`, () => promised().length > before, 60_000);
          await sleep(PAUSE_MS);
          const victim = rig.pid();
          process.kill(victim, 'SIGKILL');
          await rig.ready(victim);
        }
        const before = promised().length;
        await miner.until('shares at the end', () => promised().length > before + RATE, 60_000);
        await miner.stop();
        const all = promised();
        expect(new Set(all).size).toBe(all.length);
        // So many are told at most, and promised fewer.
        expect(all.length).toBeLessThan(MOST_TOLD);
        const { shares } = await rig.command<{ shares: { hash: string }[] }>('shares', '--json', '--count', '5000');
        const kept = new Set(shares.map(({ hash }) => hash));
        expect(all.filter((hash) => !kept.has(hash))).toEqual([]);
        expect(kept.size).toBe(shares.length);
        expect([...submitted].filter(([, times]) => times > 1)).toEqual([]);
        // Every one of those shares was a block for the node as well; the last word on each is kept.
        const { blocks } = await eventually(
          'a verdict on every block',
          () => rig.command<{ blocks: { state: string }[] }>('blocks', '--json', '--count', '5000'),
          (said) => said.blocks.every(({ state }) => state !== 'found' && state !== 'submitted'),
        );
        expect(blocks.filter(({ state }) => state === 'rejected')).toEqual([]);
        process.stderr.write(`kills: ${KILLS}, shares kept: ${all.length}, blocks handed in: ${submitted.size}\n`);
      } finally {
        await rig.dispose();
      }
    },
    ROOM_MS + KILLS * (PAUSE_MS + 10_000),
  );
});

/** The node, with a count of how often each block was handed to it. */
function counting(node: NodeApi, submitted: Map<string, number>): NodeApi {
  const { mining } = node;
  if (mining === undefined) return node;
  const submitBlock: typeof mining.submitBlock = (raw, signal) => {
    const hash = hashToDisplay(blockHash(raw.subarray(0, 80)));
    submitted.set(hash, (submitted.get(hash) ?? 0) + 1);
    return mining.submitBlock(raw, signal);
  };
  return new Proxy(node, {
    get: (of, key) => (key === 'mining' ? { ...mining, submitBlock } : Reflect.get(of, key)),
  });
}
