import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { createSpawnedHost, reason, type SpawnedHost, type SpawnedModule, STATES, until } from './spawned-host.js';

const { skip } = await sandboxToolchain();

describe.skipIf(skip)('commands on modules', () => {
  let rig: SpawnedHost | undefined;
  const open = async (modules: Record<string, SpawnedModule>, more?: Parameters<typeof createSpawnedHost>[1]) => {
    rig = await createSpawnedHost(modules, more);
    return rig;
  };
  afterEach(async () => {
    await rig?.dispose();
    rig = undefined;
  });
  const stateOf = (name: string): string =>
    String(STATES[rig?.host.list().find((module) => module.name === name)?.state ?? 0]);

  it('C151: unload twice is the same as once; load twice is MODULE_ALREADY_LOADED; strangers get the nearest name', async () => {
    const { host } = await open({ alpha: {} });
    await host.load('alpha');
    expect(await reason(host.load('alpha'))).toBe('MODULE_ALREADY_LOADED');
    expect(stateOf('alpha')).toBe('RUNNING');
    await host.unload('alpha');
    await host.unload('alpha');
    expect(stateOf('alpha')).toBe('STOPPED');
    expect(await reason(host.unload('nobody'))).toBe('MODULE_NOT_FOUND');
    await expect(host.control.load('alph', true)).rejects.toMatchObject({ details: { nearest: 'alpha' } });
  });

  it('C151: unload during load makes the start give up instead of waiting for it', async () => {
    const { host, spawnDirectories, told } = await open({ alpha: { behaviour: 'handshake hold' } });
    const loading = reason(host.load('alpha'));
    await until('the process', () => (host.list()[0]?.pid ?? 0) !== 0);
    const { pid } = host.list()[0] ?? { pid: 0 };
    await host.unload('alpha');
    expect(await loading).toBe('CANCELLED');
    expect(stateOf('alpha')).toBe('STOPPED');
    expect(() => process.kill(pid, 0)).toThrow();
    expect(spawnDirectories()).toEqual([]);
    expect(told('alpha').slice(-2)).toEqual(['moduleStopped alpha', 'moduleStateChanged alpha STOPPED']);
    // in the very moment of the start as well
    const again = reason(host.load('alpha'));
    await host.unload('alpha');
    expect(await again).toBe('CANCELLED');
    expect(spawnDirectories()).toEqual([]);
  });

  it('C149: 30 loads, unloads and reloads at once run one after the other; the last one counts', async () => {
    const { host, spawnDirectories, heard } = await open({ alpha: {} });
    const commands = Array.from({ length: 30 }, (_, i) =>
      reason(i % 3 === 0 ? host.load('alpha') : i % 3 === 1 ? host.unload('alpha') : host.reload('alpha')),
    );
    const answers = await Promise.all(commands);
    expect(answers.filter((answer) => !['OK', 'CANCELLED', 'MODULE_ALREADY_LOADED'].includes(answer))).toEqual([]);
    expect(answers.at(-1)).toBe('OK');
    expect(stateOf('alpha')).toBe('RUNNING');
    expect(spawnDirectories()).toHaveLength(1);
    let alive = 0;
    for (const { event } of heard) {
      if (event.payload?.$case === 'moduleStarted') alive += 1;
      if (event.payload?.$case === 'moduleStopped' || event.payload?.$case === 'moduleCrashed') alive -= 1;
      expect(alive).toBeLessThanOrEqual(1);
    }
    expect(alive).toBe(1);
    expect(await reason(host.unload('alpha'))).toBe('OK');
    expect(spawnDirectories()).toEqual([]);
  });

  it('a load that follows a failed one at once finds nothing in its way', async () => {
    const { host, write } = await open({ alpha: { behaviour: 'exit:1' } });
    const first = reason(host.load('alpha'));
    const second = reason(host.load('alpha'));
    expect([await first, await second]).toEqual(['MODULE_CRASHED', 'MODULE_CRASHED']);
    write('alpha', {});
    expect(await reason(host.load('alpha'))).toBe('OK');
    expect(host.list()[0]).toMatchObject({ restarts: 2, recentCrashes: 0 });
  });

  it('C137: modules start after what they need; one that is needed is not unloaded alone', async () => {
    const { host, told } = await open({
      alpha: { manifest: '[dependencies]\nbeta = ">=1.0.0"' },
      beta: { manifest: '[dependencies]\ngamma = "^1.0.0"' },
      gamma: {},
      delta: { manifest: '[optional_dependencies]\nmissing = ">=1.0.0"' },
    });
    const outcomes = await host.autoLoad();
    expect(outcomes.filter(({ error }) => error !== undefined)).toEqual([]);
    const loaded = told().filter((text) => text.startsWith('moduleLoaded') && !text.endsWith('delta'));
    expect(loaded).toEqual(['moduleLoaded gamma', 'moduleLoaded beta', 'moduleLoaded alpha']);
    await expect(host.unload('gamma')).rejects.toMatchObject({
      reason: 'MODULE_IN_USE',
      details: { dependents: 'beta' },
    });
    expect(stateOf('gamma')).toBe('RUNNING');
    expect(await host.unload('gamma', { cascade: true })).toEqual(['alpha', 'beta']);
    expect(['alpha', 'beta', 'gamma', 'delta'].map(stateOf)).toEqual(['STOPPED', 'STOPPED', 'STOPPED', 'RUNNING']);
    expect(await reason(host.load('alpha'))).toBe('DEPENDENCY_MISSING');
  });

  it('a circle, a missing and a wrong version fail their own modules and nobody else', async () => {
    const { host } = await open({
      one: { manifest: '[dependencies]\ntwo = ">=1.0.0"' },
      two: { manifest: '[dependencies]\none = ">=1.0.0"' },
      needy: { manifest: '[dependencies]\nabsent = ">=1.0.0"' },
      picky: { manifest: '[dependencies]\nfine = "^2.0.0"' },
      // each could do without the other: no circle
      fine: { manifest: '[optional_dependencies]\nkind = ">=1.0.0"' },
      kind: { manifest: '[dependencies]\nfine = ">=1.0.0"' },
    });
    const outcomes = new Map((await host.autoLoad()).map(({ name, error }) => [name, error?.reason ?? 'OK']));
    expect(Object.fromEntries(outcomes)).toEqual({
      one: 'DEPENDENCY_CYCLE',
      two: 'DEPENDENCY_CYCLE',
      needy: 'DEPENDENCY_MISSING',
      picky: 'DEPENDENCY_CONFLICT',
      fine: 'OK',
      kind: 'OK',
    });
    expect(stateOf('one')).toBe('FAILED');
  });

  it('broken directories, wrong names and strangers in the options are told beside good modules', async () => {
    const { host, modulesDir, lines } = await open(
      { alpha: {}, off: {} },
      {
        modules: { off: { enabled: false }, alpa: { unsigned: true } },
      },
    );
    for (const [name, text] of [
      ['broken', 'name = '],
      ['renamed', 'name = "other"\nversion = "1.0.0"\n'],
    ] as const) {
      mkdirSync(join(modulesDir, name));
      writeFileSync(join(modulesDir, name, 'module.toml'), text);
    }
    mkdirSync(join(modulesDir, 'no-module'));
    const outcomes = (await host.autoLoad()).map(({ name, error }) => [name, error?.reason ?? 'OK']);
    expect(Object.fromEntries(outcomes)).toEqual({ broken: 'MANIFEST_SYNTAX', renamed: 'NAME_MISMATCH', alpha: 'OK' });
    const status = await host.control.status(AbortSignal.timeout(5_000));
    const warnings = status.host?.warnings.map(({ code, module }) => `${code} ${module}`);
    expect(warnings).toEqual(expect.arrayContaining(['broken_module broken', 'broken_module renamed']));
    expect(lines('alpa').map(({ message }) => message)).toEqual(['no such module; did you mean alpha?']);
    expect(stateOf('off')).toBe('STOPPED');
    rmSync(join(modulesDir, 'off'), { recursive: true });
    expect(await reason(host.load('off'))).toBe('MODULE_NOT_FOUND');
    // what is broken is told among the modules; what is gone is not
    expect(host.list().map(({ name }) => name)).toEqual(['alpha', 'broken', 'renamed']);
  });

  it('stop during start leaves no process, socket or directory', async () => {
    const { host, spawnDirectories, told } = await open({
      alpha: { behaviour: 'handshake hold' },
      beta: { behaviour: 'handshake ready' },
    });
    await host.load('beta');
    const loading = reason(host.load('alpha'));
    await until('the start', () => stateOf('alpha') === 'STARTING');
    await Promise.all([host.stop(), host.stop()]);
    expect(await loading).toBe('HOST_STOPPING');
    expect(spawnDirectories()).toEqual([]);
    expect(told('beta')).toContain('moduleUnloaded beta');
    expect(await reason(host.load('beta'))).toBe('HOST_STOPPING');
    await host.stop();
  });

  it('C157: what the manifest calls secret is in the handshake alone', async () => {
    const secret = 'correct-horse-battery';
    const manifest =
      '[config]\npassword = { type = "string", secret = true }\nword = { type = "string", default = "plain" }';
    const { host, lines } = await open(
      { alpha: { manifest } },
      { modules: { alpha: { config: { password: secret } } } },
    );
    await host.load('alpha');
    await host.unload('alpha');
    const status = await host.control.status(AbortSignal.timeout(5_000));
    const text = (value: unknown): string =>
      JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? String(item) : item));
    for (const shown of [status, lines('alpha'), lines('host'), host.list()]) expect(text(shown)).not.toContain(secret);
    const audited: unknown[] = [];
    const filter = { modules: [], kinds: [], tail: 1_000, follow: false };
    for await (const entries of host.control.audit(filter, AbortSignal.timeout(5_000))) audited.push(...entries);
    expect(audited.length).toBeGreaterThan(0);
    expect(text(audited)).not.toContain(secret);
  });

  it('C157: a refused secret is not in the refusal', async () => {
    const manifest = '[config]\npassword = { type = "string", secret = true, min = 40 }';
    const { host, lines } = await open(
      { alpha: { manifest } },
      { modules: { alpha: { config: { password: 'hunter2' } } } },
    );
    const error = (await host.load('alpha').catch((thrown: unknown) => thrown)) as { reason: string; message: string };
    expect(error.reason).toBe('BAD_VALUE');
    expect(error.message).not.toContain('hunter2');
    expect(JSON.stringify(lines('alpha').map(({ message }) => message))).not.toContain('hunter2');
  });
});

it('the module of the tests needs no package', () => {
  const text = readFileSync(new URL('./modules/main.mjs', import.meta.url), 'utf8');
  expect([...text.matchAll(/from '([^']+)'/g)].map(([, name]) => name).every((name) => name?.startsWith('node:'))).toBe(
    true,
  );
});
