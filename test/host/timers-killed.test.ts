import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildGo, goPresence } from '../go/build.js';
import { processesWith } from '../process/processes-with.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { requireToolchain } from '../toolchain.js';
import { createSpawnedHost, until } from './spawned-host.js';

const { skip: noSandbox } = await sandboxToolchain();
const { skip: noGo } = requireToolchain('go', await goPresence());
/** From the death of a module to the last of its timers: the catalogue's figure. */
const GONE_WITHIN_MS = 1_000;
/** Ticks of the dead one would come by the hundred in this time, milliseconds. */
const LISTENING_MS = 1_000;

interface Told {
  kind: string;
  instance: string;
}

describe.skipIf(noSandbox || noGo)('a module that is killed', () => {
  it('C117: by kill -9 with 64 timers has none within a second, and no tick reaches its successor', async () => {
    const name = `timers-${process.pid}`;
    const build = mkdtempSync(join(tmpdir(), 'mh-timers-'));
    await buildGo(build, 'timers');
    const rig = await createSpawnedHost(
      { [name]: { executable: '', manifest: 'capabilities = ["manage_timers"]' } },
      { restartTimes: { firstMs: 1_500, maxMs: 1_500 } },
    );
    try {
      copyFileSync(join(build, 'timers'), join(rig.modulesDir, name, name));
      const told = (): Told[] =>
        readFileSync(join(rig.dir, 'd', 'modules', name, 'told.jsonl'), 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Told);
      const lives = (): string[] => told().flatMap(({ kind, instance }) => (kind === 'ready' ? [instance] : []));
      const status = () => rig.host.list()[0];
      await rig.host.load(name);
      await until('ticks', () => told().filter(({ kind }) => kind === 'tick').length > 128);
      expect(status()?.timers).toBe(64);

      const killed = performance.now();
      for (const line of processesWith([name], process.pid)) {
        try {
          process.kill(Number.parseInt(line, 10), 'SIGKILL');
        } catch {
          // it went with the one before
        }
      }
      await until('no timers', () => status()?.timers === 0);
      expect(performance.now() - killed).toBeLessThan(GONE_WITHIN_MS);

      await until('a successor', () => lives().length === 2);
      await new Promise((resolve) => setTimeout(resolve, LISTENING_MS));
      const successor = lives()[1];
      expect(told().filter(({ kind, instance }) => kind === 'tick' && instance === successor)).toEqual([]);
      expect(status()?.timers).toBe(0);
    } finally {
      await rig.dispose();
      rmSync(build, { recursive: true, force: true });
    }
  });
});
