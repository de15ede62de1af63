import { afterEach, describe, expect, it } from 'vitest';
import { createObedientHost, type ObedientHost, obedient } from '../host/obedient.js';
import { until } from '../host/spawned-host.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();

describe.skipIf(skip)('supervision with the times that a manifest has by default', () => {
  let rig: ObedientHost | undefined;
  afterEach(async () => {
    await rig?.dispose();
    rig = undefined;
  });
  const count = (text: string): number => rig?.told().filter((told) => told === text).length ?? 0;

  it('C140: sees a crash within a second and a hang within fifteen', async () => {
    rig = await createObedientHost(
      { killed: { ...obedient(), manifest: '' }, hung: { ...obedient(), manifest: '' } },
      { restartTimes: { firstMs: 60_000 } },
    );
    const { host, order: tell, status } = rig;
    await host.autoLoad();
    const endOf = async (name: string, end: () => void): Promise<number> => {
      const startMs = performance.now();
      end();
      await until(`the end of ${name}`, () => count(`moduleCrashed ${name}`) === 1, 20_000);
      return performance.now() - startMs;
    };
    expect(await endOf('killed', () => process.kill(status('killed').pid, 'SIGKILL'))).toBeLessThan(1_000);
    expect(await endOf('hung', () => tell('hung', 'deaf'))).toBeLessThan(15_000);
  });
});
