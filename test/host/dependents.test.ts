import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { openExternal, VERSION } from './external-module.js';
import { cleanUp, ready } from './host-rig.js';
import { createObedientHost, type ObedientHost, obedient } from './obedient.js';
import { reason } from './spawned-host.js';

const { skip } = await sandboxToolchain();

const NEEDS_STORE = '[dependencies]\nstore = ">=1.0.0"\n';
const RESTARTS = { restartTimes: { firstMs: 500, maxMs: 500, jitter: 0 } };

describe.skipIf(skip)('modules that need others', () => {
  let rig: ObedientHost | undefined;
  const open = async (...given: Parameters<typeof createObedientHost>) => {
    rig = await createObedientHost(...given);
    return rig;
  };
  afterEach(async () => {
    await cleanUp();
    await rig?.dispose();
    rig = undefined;
  });
  const moves = (module: string): string[] =>
    (rig?.told(module) ?? []).flatMap((text) => text.split('moduleStateChanged ')[1]?.split(' ')[1] ?? []);

  it('C138: go on, degraded, while what they need is restarted; who can do without it is not touched', async () => {
    const { host, order, reaches, status } = await open(
      {
        store: obedient(),
        app: obedient(NEEDS_STORE),
        casual: obedient('[optional_dependencies]\nstore = ">=1.0.0"\n'),
      },
      RESTARTS,
    );
    await host.autoLoad();
    const { pid } = status('app');
    order('store', 'signal SIGSEGV');
    await reaches('app', 'DEGRADED');
    expect(status('app').reason).toContain('store');
    await reaches('store', 'RUNNING');
    await reaches('app', 'RUNNING');
    expect(status('app')).toMatchObject({ pid, restarts: 0, reason: 'ready' });
    expect(moves('casual')).toEqual(['VERIFIED', 'STARTING', 'RUNNING']);
  });

  it('are stopped when what they need is held or unloaded, and start again with it, in the order of need', async () => {
    const { host, order, atStart, reaches, state, status, told } = await open(
      {
        store: obedient('restart = { max_crashes = 2 }\n'),
        app: obedient(NEEDS_STORE),
        page: obedient('[dependencies]\napp = ">=1.0.0"\n'),
      },
      { restartTimes: { firstMs: 100, maxMs: 100 } },
    );
    await host.autoLoad();
    atStart('store', 'exit 4');
    order('store', 'exit 3');
    await reaches('store', 'QUARANTINED');
    await reaches('page', 'STOPPED');
    await reaches('app', 'STOPPED');
    expect(status('app').reason).toContain('store');
    expect(status('page').reason).toContain('app');
    expect(told('app')).not.toContain('moduleCrashed app');
    atStart('store');
    await host.load('store');
    await reaches('page', 'RUNNING');
    expect([state('store'), state('app')]).toEqual(['RUNNING', 'RUNNING']);
    // taken along by the operator
    expect(await host.unload('store', { cascade: true })).toEqual(['page', 'app']);
    expect(['store', 'app', 'page'].map(state)).toEqual(['STOPPED', 'STOPPED', 'STOPPED']);
    // one of them the operator unloads himself: that one stays
    await host.unload('page');
    await host.load('store');
    await reaches('app', 'RUNNING');
    await sleep(300);
    expect(state('page')).toBe('STOPPED');
  });

  it('wait for one that somebody else starts, and start by themselves once it is Ready', async () => {
    const { host, reaches, state, status, dir } = await open(
      { store: obedient(), app: obedient(NEEDS_STORE) },
      { ...RESTARTS, modules: { store: { run: 'external' } } },
    );
    const outcomes = await host.autoLoad();
    expect(outcomes.map(({ name, error }) => [name, error?.reason])).toEqual([
      ['store', undefined],
      ['app', 'DEPENDENCY_MISSING'],
    ]);
    expect(state('app')).toBe('BACKOFF');
    expect(status('app')).toMatchObject({ reason: expect.stringContaining('store'), restartInMs: 0, recentCrashes: 0 });
    const socket = join(dir, 's', 'x-store', 'host.sock');
    await openExternal(socket, readFileSync(join(dir, 's', 'x-store', 'token')), 'store', VERSION);
    expect(state('app')).toBe('BACKOFF');
    await ready(socket);
    await reaches('app', 'RUNNING');
  });

  it('that wait are unloaded like any other, and start with what is installed only later', async () => {
    const { host, reaches, state, write } = await open(
      { app: obedient(NEEDS_STORE) },
      { ...RESTARTS, allowUnsigned: ['app', 'store'] },
    );
    expect(await reason(host.load('app'))).toBe('DEPENDENCY_MISSING');
    expect(state('app')).toBe('BACKOFF');
    await host.unload('app');
    expect(state('app')).toBe('STOPPED');
    expect(await reason(host.load('app'))).toBe('DEPENDENCY_MISSING');
    write('store', obedient());
    await host.load('store');
    await reaches('app', 'RUNNING');
  });
});
