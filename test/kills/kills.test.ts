import { randomBytes } from 'node:crypto';
import { chmodSync, cpSync, mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { goPresence } from '../go/build.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { requireToolchain } from '../toolchain.js';
import { createLane, type Kill, type Lane, type Tally } from './lane.js';
import { buildPrograms } from './programs.js';

const KILLS = Number(process.env.MODHOST_TEST_KILLS ?? 50);
const SEED = Number(process.env.MODHOST_TEST_SEED ?? randomBytes(4).readUInt32LE() >>> 1);
/** Kills of one slice, which has data directories of its own: of a long run each slice is a test that tells its outcome. */
const SLICE = 100;
/** Hosts at a time. */
const LANES = 3;
/** Of ten kills, how many come while the host or its module starts. */
const STARTS_OF_TEN = 3;
/** Moments at which a kill may come, over the time that it is aimed at. */
const MOMENTS = 10_000;
/** Kills after which a line tells how far a run is. */
const PROGRESS = 25;
/** Longest time of a kill with its start on a machine that is busy with other things, milliseconds; alone it is one second. */
const KILL_MS = 30_000;
/** An ordinary user for a share of the hosts; nothing on a machine is expected to have it. */
const USER = 4242;

const { skip: noSandbox } = await sandboxToolchain();
const { skip: noGo } = requireToolchain('go', await goPresence());
const isRoot = process.getuid?.() === 0;

describe.skipIf(noSandbox || noGo)('C124: a whole host under kill -9', () => {
  const dir = mkdtempSync(join(tmpdir(), 'mh-kills-'));
  const lanes = new Set<Lane>();
  let programs: Awaited<ReturnType<typeof buildPrograms>>;

  beforeAll(async () => {
    chmodSync(dir, 0o711);
    programs = await buildPrograms(dir);
    process.stderr.write(`kills: seed ${SEED}\n`);
  });
  afterAll(() => {
    for (const lane of lanes) lane.dispose();
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  });

  const makeLane = (uid?: number): { lane: Lane; root: string; name: string } => {
    const root = mkdtempSync(join(dir, 'l'));
    const name = `ledger-${randomBytes(6).toString('hex')}`;
    const lane = createLane({ ...programs, root, name, uid });
    lanes.add(lane);
    return { lane, root, name };
  };

  it(
    'the story finds what was lost or torn: the control of the tests below',
    async () => {
      const { lane, root } = makeLane();
      const [storage, before] = [join(root, 'd', 'storage'), join(root, 'before')];
      await lane.killOnce({ during: 'writing', at: 0.5 });
      cpSync(storage, before, { recursive: true });
      await lane.killOnce({ during: 'writing', at: 0.5 });
      rmSync(storage, { recursive: true });
      cpSync(before, storage, { recursive: true });
      await expect(lane.killOnce({ during: 'writing', at: 0.5 })).rejects.toThrow(/acknowledged, \d+ found/);
      lane.dispose();

      const other = makeLane();
      await other.lane.killOnce({ during: 'writing', at: 0.9 });
      truncateSync(join(other.root, 'd', 'modules', other.name, 'state'), 500);
      await expect(other.lane.killOnce({ during: 'writing', at: 0.5 })).rejects.toThrow(/torn/);
      other.lane.dispose();
    },
    10 * KILL_MS,
  );

  const slices = Array.from({ length: Math.ceil(KILLS / SLICE) }, (_, index) => ({
    slice: index + 1,
    kills: Math.min(SLICE, KILLS - index * SLICE),
  }));
  it.each(slices)(
    'slice $slice: $kills kills while its module writes 100 times per second lose nothing acknowledged, tear neither batch nor file, and miscount nothing',
    {
      timeout: SLICE * KILL_MS,
    },
    async ({ slice, kills }) => {
      const drawn = fc.sample(fc.noBias(fc.tuple(fc.nat(9), fc.nat(MOMENTS))), { seed: SEED + slice, numRuns: kills });
      const waiting = drawn.map(
        ([kind, moment]): Kill => ({ during: kind < STARTS_OF_TEN ? 'start' : 'writing', at: moment / MOMENTS }),
      );
      const mine = Array.from({ length: LANES }, (_, index) => makeLane(isRoot && index === 0 ? USER : undefined).lane);
      let done = 0;
      await Promise.all(
        mine.map(async (lane) => {
          for (let kill = waiting.shift(); kill !== undefined; kill = waiting.shift()) {
            await lane.killOnce(kill);
            done += 1;
            if (done % PROGRESS === 0) process.stderr.write(`kills: slice ${slice}, ${done} of ${kills}\n`);
          }
          await lane.finish();
        }),
      );
      const total = mine.map(({ tally }) => tally).reduce(sum);
      const perSecond = Math.round((total.stored / total.writingMs) * 1_000);
      process.stderr.write(`kills: slice ${slice}, ${JSON.stringify({ ...total, perSecond })}\n`);
      expect(total.kills).toBe(kills);
      // the kills did hit what they aimed at
      expect(total.starting).toBeGreaterThan(kills / 20);
      expect(total.writing).toBeGreaterThan(kills / 3);
      expect(total.stored).toBeGreaterThan(kills / 3);
      expect(total.filed).toBeGreaterThan(0);
      expect(total.staged).toBeGreaterThan(0);
    },
  );
});

function sum(one: Tally, other: Tally): Tally {
  const added = Object.entries(one).map(([key, value]) => [key, value + other[key as keyof Tally]]);
  return Object.fromEntries(added) as Tally;
}
