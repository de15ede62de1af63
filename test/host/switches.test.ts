import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createSwitches, isEnabled, SWITCHES_FILE } from '../../src/host/switches.js';
import { writeExternalModule } from './external-module.js';
import { cleanUp, directory, hostIn } from './host-rig.js';
import { reason, STATES } from './spawned-host.js';

afterEach(cleanUp);

const MODULES = {
  first: { run: 'external', unsigned: true },
  second: { run: 'external', unsigned: true, enabled: false },
} as const;

/** A started host in this directory, with two external modules and a broken one. */
const start = async (dir: string) => {
  for (const name of Object.keys(MODULES)) writeExternalModule(join(dir, 'm'), name, []);
  mkdirSync(join(dir, 'm', 'broken'), { recursive: true });
  writeFileSync(join(dir, 'm', 'broken', 'module.toml'), 'name = "broken"\n');
  const host = hostIn(dir, { modules: MODULES });
  await host.start();
  const states = () => Object.fromEntries(host.list().map(({ name, state }) => [name, STATES[state]]));
  const enabled = () => Object.fromEntries(host.list().map((module) => [module.name, module.enabled]));
  return { host, states, enabled };
};

describe('switches', () => {
  it('stand over the operator’s file, outlive the host, and start and stop at once', async () => {
    const dir = directory();
    const { host, states, enabled } = await start(dir);
    await host.autoLoad();
    expect(states()).toEqual({ broken: 'FAILED', first: 'STARTING', second: 'STOPPED' });
    expect(enabled()).toEqual({ broken: true, first: true, second: false });
    expect((await host.control.disable('first', false)).module).toMatchObject({ enabled: false });
    expect(await host.control.enable('second')).toMatchObject({ enabled: true });
    // enabling what runs is no error
    expect(await host.control.enable('second')).toMatchObject({ enabled: true });
    expect(states()).toEqual({ broken: 'FAILED', first: 'STOPPED', second: 'STARTING' });
    await host.stop();

    const next = await start(dir);
    await next.host.autoLoad();
    expect(next.states()).toEqual({ broken: 'FAILED', first: 'STOPPED', second: 'STARTING' });
    expect(next.host.list().find(({ name }) => name === 'first')?.reason).toBe('disabled by the operator');
    // by hand it can still be loaded
    await next.host.load('first');
    expect(next.enabled().first).toBe(false);
    expect(readdirSync(join(dir, 'd')).filter((name) => name.startsWith(SWITCHES_FILE))).toEqual([SWITCHES_FILE]);
  });

  it('keep a module with a broken manifest too; what is not there is refused with the nearest name', async () => {
    const { host, enabled } = await start(directory());
    await host.autoLoad();
    expect((await host.control.disable('broken', false)).module).toMatchObject({ name: 'broken', enabled: false });
    expect(await reason(host.control.enable('broken'))).toBe('FIELD_REQUIRED');
    expect(enabled().broken).toBe(true);
    for (const name of ['fist', '../m/first', '__proto__']) {
      expect(await reason(host.control.enable(name))).toBe('MODULE_NOT_FOUND');
      expect(await reason(host.control.disable(name, false))).toBe('MODULE_NOT_FOUND');
    }
    await expect(host.control.enable('fist')).rejects.toMatchObject({ details: { nearest: 'first' } });
  });

  it('that cannot be read start nothing by itself, are told, and are never written over', async () => {
    const dir = directory();
    mkdirSync(join(dir, 'd'), { recursive: true, mode: 0o711 });
    const path = join(dir, 'd', SWITCHES_FILE);
    for (const text of ['{"first": fal', '[]', '{"first": "no"}', 'null']) {
      writeFileSync(path, text);
      const { host, states } = await start(dir);
      expect(await reason(host.autoLoad())).toBe('DATA_CORRUPT');
      expect(states()).toMatchObject({ first: 'DISCOVERED', second: 'DISCOVERED' });
      const { host: told } = await host.control.status(AbortSignal.timeout(5_000));
      expect(told?.warnings.map(({ code }) => code)).toContain('switches_corrupt');
      expect(await reason(host.control.enable('first'))).toBe('DATA_CORRUPT');
      expect(readFileSync(path, 'utf8')).toBe(text);
      await host.stop();
    }
  });

  it('are absent at first, read once, and whole after each change', () => {
    const dir = directory();
    const path = join(dir, SWITCHES_FILE);
    const switches = createSwitches(path);
    expect(switches.of('a')).toBeUndefined();
    expect(isEnabled(switches, 'a', { enabled: false })).toBe(false);
    switches.set('a', true);
    switches.set('b', false);
    expect(isEnabled(switches, 'a', { enabled: false })).toBe(true);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ a: true, b: false });
    const later = createSwitches(path);
    expect([later.of('a'), later.of('b'), later.of('toString')]).toEqual([true, false, undefined]);
    rmSync(dir, { recursive: true });
    expect(() => switches.set('c', true)).toThrow();
    expect(switches.of('c')).toBeUndefined();
  });
});
