import { readdirSync, readlinkSync } from 'node:fs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { createObedientHost, obedient, processesWith } from './obedient.js';
import { until } from './spawned-host.js';
import { COMMANDS, createNews, MARKER, type Model, type Real } from './supervision-model.js';

/** Seed of the random runs; shown in the title. */
const SEED = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);
/** Ends of spawns that the test brings about. */
const CYCLES = 500;
const POLICIES = ['on-failure', 'always', 'on-failure', 'never', 'on-failure', 'always'] as const;
const MAX_CRASHES = 4;

const { skip } = await sandboxToolchain();

/** What this process holds open, by kind. */
function held(): { sockets: number; pipes: number; others: number; timers: number } {
  const links = readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return [];
    }
  });
  const sockets = links.filter((link) => link.startsWith('socket:')).length;
  const pipes = links.filter((link) => link.startsWith('pipe:')).length;
  const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
  return { sockets, pipes, others: links.length - sockets - pipes, timers };
}

it.skipIf(skip)(
  `states and events are the model's through ${CYCLES} crashes, hangs, ends, double forks and kills, and nothing is left (seed ${SEED})`,
  { timeout: 400_000 },
  async () => {
    const before = held();
    const names = POLICIES.map((policy, i) => `m${i}-${policy}`);
    const marker = (name: string): string => `${process.pid}-${name}`;
    const rig = await createObedientHost(
      Object.fromEntries(
        names.map((name, i) => [
          name,
          obedient(
            `limits = { stop_timeout_ms = 200 }\nrestart = { policy = "${POLICIES[i]}", max_crashes = ${MAX_CRASHES}, window_s = 3600 }\n`,
            { [MARKER]: marker(name) },
          ),
        ]),
      ),
      { restartTimes: { firstMs: 20, maxMs: 80 } },
    );
    const cycles = { count: 0 };
    try {
      const newsOf = createNews(rig);
      const models = names.map(
        (_, i): Model => ({
          policy: POLICIES[i] ?? 'always',
          maxCrashes: MAX_CRASHES,
          state: 'RUNNING',
          crashes: 0,
          failsAtStart: false,
          over: () => cycles.count >= CYCLES,
        }),
      );
      const reals = names.map((name): Real => ({ rig, name, marker: marker(name), news: () => newsOf(name), cycles }));
      expect((await rig.host.autoLoad()).filter(({ error }) => error !== undefined)).toEqual([]);
      for (const name of names) newsOf(name);
      const commands = fc.commands(COMMANDS, { maxCommands: 200, size: 'max' });
      // modules go their ways side by side; the next round goes on where the last one ended
      const round = fc.asyncProperty(fc.tuple(...names.map(() => commands)), async (lists) => {
        if (cycles.count >= CYCLES) return;
        await Promise.all(
          lists.map((list, i) => fc.asyncModelRun(() => ({ model: models[i] as Model, real: reals[i] as Real }), list)),
        );
      });
      await fc.assert(round, { seed: SEED, numRuns: 1_000, endOnFailure: true });
      expect(cycles.count).toBeGreaterThanOrEqual(CYCLES);
      await rig.host.stop();
      expect(names.flatMap((name) => processesWith(MARKER, marker(name)))).toEqual([]);
      expect(rig.spawnDirectories()).toEqual([]);
    } finally {
      await rig.dispose();
    }
    const left = (): boolean => {
      const now = held();
      return (Object.keys(before) as (keyof typeof before)[]).every((kind) => now[kind] <= before[kind]);
    };
    await until('nothing to be left open', left, 5_000).catch(() => expect(held()).toEqual(before));
  },
);
