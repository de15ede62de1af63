import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { type ResourceLimitWarning, ResourceType } from '../../gen/ts/modhost/event/v1/resource.js';
import { ErrorReason } from '../../gen/ts/modhost/v1/error.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { GuaranteeState } from '../../gen/ts/modhost/v1/session.js';
import { createSpawnedHost, type SpawnedHost, until } from '../host/spawned-host.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();

/** Pairs of a time with the hog at work and one without. */
const PAIRS = 5;
/** How long the caller is listened to in each half of a pair, at least, and how many of its calls are heard. */
const LISTEN_MS = 500;
const LISTEN_CALLS = 20;
/** What counts as kept latency: twice the time without the hog, or this. */
const MOST_TIMES = 2;
const MOST_MS = 50;

const LIMITS = 'limits = { memory_mb = 96, cpu_percent = 20, pids = 40, open_files = 128, data_mb = 48 }';

/** A host with a hog and a module that calls all the time. */
interface HogHost extends SpawnedHost {
  /** Starts the hog if it does not run; what it gives lets it loose. */
  prepare(): Promise<() => void>;
  /** Holds the hog back; does nothing when it has ended. */
  hold(): void;
  status(): ModuleStatus;
  /** Latencies of the calls that began within this time, milliseconds. */
  latencies(fromMs: number, toMs: number): number[];
  warnings(): ResourceLimitWarning[];
}

describe.skipIf(skip)('C144: a module that takes all it can', () => {
  let rig: HogHost | undefined;
  afterEach(async () => {
    await rig?.dispose();
    rig = undefined;
  });

  async function open(hog: string, more: Parameters<typeof createSpawnedHost>[1] = {}): Promise<HogHost> {
    const modules = {
      hog: {
        behaviour: 'handshake ready import:hog.mjs',
        env: { HOG: hog },
        manifest: `${LIMITS}\nrestart = { policy = "never" }`,
      },
      caller: { behaviour: 'handshake ready import:caller.mjs', manifest: 'limits = { cpu_percent = 100 }' },
    };
    const host = await createSpawnedHost(modules, more);
    for (const name of Object.keys(modules)) {
      copyFileSync(new URL(`../host/modules/${name}.mjs`, import.meta.url), join(host.modulesDir, name, `${name}.mjs`));
    }
    let loads = 1;
    const status = (): ModuleStatus => host.host.list().find(({ name }) => name === 'hog') as ModuleStatus;
    const tell = (signal: NodeJS.Signals): void => {
      const { pid } = status();
      if (pid > 0) process.kill(pid, signal);
    };
    rig = {
      ...host,
      status,
      async prepare() {
        const data = join(host.dir, 'd', 'modules', 'hog');
        if (status().pid === 0) {
          // a directory that is over its limit ends the module at its next start, too
          for (const name of readdirSync(data)) rmSync(join(data, name));
          await host.host.load('hog');
          loads += 1;
        }
        const said = (): number => host.lines('hog').filter(({ message }) => message === 'listening').length;
        await until('the hog to listen', () => said() === loads);
        return () => tell('SIGUSR1');
      },
      hold: () => tell('SIGUSR2'),
      latencies: (fromMs, toMs) =>
        host.lines('caller').flatMap(({ message }) => {
          const [word, began, took] = message.split(' ');
          return word === 'took' && Number(began) >= fromMs && Number(began) < toMs ? [Number(took)] : [];
        }),
      warnings: () =>
        host.heard.flatMap(({ event: { payload } }) =>
          payload?.$case === 'resourceLimitWarning' ? [payload.value] : [],
        ),
    };
    await host.host.load('caller');
    await until('the caller to call', () => host.lines('caller').some(({ message }) => message.startsWith('took')));
    await host.host.load('hog');
    return rig;
  }

  /** Lets the hog loose and holds it back in turn; gives the caller's p99 in each half, milliseconds. */
  async function pairs(hog: HogHost, isOver: () => boolean): Promise<{ on: number; off: number }[]> {
    const found: { on: number; off: number }[] = [];
    const p99 = (times: number[]): number => times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0;
    for (let pair = 0; pair < PAIRS; pair += 1) {
      const loose = await hog.prepare();
      const listen = async (fromMs: number): Promise<void> => {
        await sleep(LISTEN_MS);
        const heard = (): number => hog.latencies(fromMs, Date.now()).length;
        await until('the caller to have called', () => heard() >= LISTEN_CALLS, 20_000);
      };
      const offMs = Date.now();
      await listen(offMs);
      const onMs = Date.now();
      loose();
      await listen(onMs);
      await until('the hog to have taken all it could', isOver, 20_000);
      const endMs = Date.now();
      hog.hold();
      await sleep(100);
      const halves = { off: hog.latencies(offMs, onMs), on: hog.latencies(onMs, endMs) };
      found.push({ off: p99(halves.off), on: p99(halves.on) });
    }
    return found;
  }

  function expectKept(found: { on: number; off: number }[]): void {
    const median = (numbers: number[]): number => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
    const times = median(found.map(({ on, off }) => on / off));
    const ms = median(found.map(({ on }) => on));
    const all = found.map(({ on, off }) => `${off.toFixed(1)} -> ${on.toFixed(1)}`).join(', ');
    expect(times <= MOST_TIMES || ms <= MOST_MS, `p99 without -> with the hog, ms: ${all}`).toBe(true);
    process.stdout.write(`p99 without -> with the hog, ms: ${all}\n`);
  }

  /** How the hog must have ended, in the status, as an event, and in the log. */
  function expectEnded(hog: HogHost, reason: ErrorReason): void {
    const { lastError } = hog.status();
    expect(lastError?.reason).toBe(reason);
    const told = hog.heard.flatMap(({ event: { payload } }) =>
      payload?.$case === 'moduleCrashed' ? [payload.value] : [],
    );
    expect(told.length).toBeGreaterThan(0);
    for (const { moduleName, error } of told) {
      expect(moduleName).toBe('hog');
      expect(error).toMatch(/memory|data directory/);
    }
  }

  it('memory: is killed at its limit, and the kernel’s count tells why', async () => {
    const hog = await open('memory');
    const found = await pairs(hog, () => hog.status().pid === 0);
    expectEnded(hog, ErrorReason.MEMORY_LIMIT);
    expect(hog.told('hog').filter((told) => told === 'moduleCrashed hog')).toHaveLength(PAIRS);
    expectKept(found);
  });

  it('processor: is throttled to its share, and warned', async () => {
    const hog = await open('cpu');
    const found = await pairs(hog, () => true);
    (await hog.prepare())();
    await until('the warning', () => hog.warnings().length > 0, 40_000);
    expect(hog.warnings()[0]).toMatchObject({
      resourceType: ResourceType.CPU,
      limit: 200n,
      moduleName: 'hog',
      thresholdPercent: 80,
    });
    const { usage, state } = hog.status();
    expect(usage?.cpuPercent).toBeLessThan(60);
    expect(usage?.pids).toBeGreaterThan(1);
    expect(state).toBe(ModuleState.RUNNING);
    expectKept(found);
  });

  it('processes: the next fork is refused, and it is warned', async () => {
    const hog = await open('pids');
    const found = await pairs(hog, () => true);
    (await hog.prepare())();
    await until('the warning', () => hog.warnings().some(({ resourceType }) => resourceType === ResourceType.PIDS));
    expect(hog.warnings().find(({ resourceType }) => resourceType === ResourceType.PIDS)).toMatchObject({ limit: 40n });
    expect(hog.status().usage?.pids).toBeLessThanOrEqual(40);
    expect(hog.status().state).toBe(ModuleState.RUNNING);
    expectKept(found);
  });

  it('open files: the next one is refused, and it is warned', async () => {
    const hog = await open('files');
    const found = await pairs(hog, () => true);
    (await hog.prepare())();
    await until('the warning', () =>
      hog.warnings().some(({ resourceType }) => resourceType === ResourceType.OPEN_FILES),
    );
    expect(hog.status().usage?.openFiles).toBeLessThanOrEqual(128);
    expect(hog.status().state).toBe(ModuleState.RUNNING);
    expectKept(found);
  });

  it('disk: is ended when its directory has grown over its limit', async () => {
    const hog = await open('disk');
    const found = await pairs(hog, () => hog.status().pid === 0);
    expectEnded(hog, ErrorReason.DISK_LIMIT);
    expect(hog.warnings().some(({ resourceType }) => resourceType === ResourceType.DISK)).toBe(true);
    expectKept(found);
  });

  it('memory without a memory controller: the watch adds its processes up and ends it', async () => {
    const hog = await open('children', { withoutControllers: ['memory'] });
    const held = hog.status().containment.find(({ name }) => name === 'memory');
    expect(held?.state).toBe(GuaranteeState.WATCHED);
    (await hog.prepare())();
    await until('the end', () => hog.status().pid === 0);
    expectEnded(hog, ErrorReason.MEMORY_LIMIT);
    expect(hog.status().lastError?.message).toContain('96 MiB');
  });
});
