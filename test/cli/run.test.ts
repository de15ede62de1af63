import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPlace, isAlive, type Place, type Started, writeConfig } from './command-line.js';

let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.dispose());

/** A module that never gets ready, and that does not listen to SIGTERM. */
const STUBBORN = `import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn", flush=True)
while True:
    time.sleep(1)
`;

async function startStubborn(): Promise<{ host: Started; pid: number }> {
  writeConfig(place, '[modules.stubborn]\nunsigned = true\n');
  place.write(
    'm/stubborn/module.toml',
    'name = "stubborn"\nversion = "1.0.0"\n[run]\ncommand = ["python", "main.py"]\n[limits]\nstop_timeout_ms = 3000\n',
  );
  place.write('m/stubborn/main.py', STUBBORN);
  const host = place.start('run');
  await host.until('"msg":"stubborn"');
  const { out } = await place.run('list', '--json');
  const [module] = JSON.parse(out) as { pid: number }[];
  const pid = module?.pid ?? 0;
  expect(pid).toBeGreaterThan(0);
  expect(isAlive(pid)).toBe(true);
  return { host, pid };
}

describe('modhost run', () => {
  it('C171: one signal stops it in order and leaves nothing behind', async () => {
    writeConfig(place, '[sandbox]\nminimum = "none"\n[modules.a]\nrun = "external"\nunsigned = true\n');
    place.write('m/a/module.toml', 'name = "a"\nversion = "1.0.0"\n');
    const host = place.start('run');
    await host.until('waits for somebody');
    expect(readdirSync(join(place.dir, 's'))).toContain('admin.sock');
    host.kill('SIGINT');
    expect(await host.ended).toMatchObject({ code: 0, signal: null });
    // but the empty directory of the external module, which a container may have mounted
    expect(readdirSync(join(place.dir, 's'))).toEqual(['x-a']);
    expect(readdirSync(join(place.dir, 's', 'x-a'))).toEqual([]);
  });

  it('C171: a second signal ends it at once, modules included', async () => {
    const { host, pid } = await startStubborn();
    host.kill('SIGINT');
    await host.until('stopping: SIGINT');
    host.kill('SIGINT');
    expect(await host.ended).toMatchObject({ code: 130, signal: null });
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(existsSync(join(place.dir, 's', 'admin.sock'))).toBe(false);
    // what was left lying does not hinder the next one
    const next = place.start('run', '--config', join(place.dir, 'modhost.toml'));
    await next.until('"msg":"modhost has started"');
    next.kill('SIGTERM');
    await next.until('stopping: SIGTERM');
    next.kill('SIGTERM');
    expect((await next.ended).code).toBe(143);
  });

  it('C171: a module that ignores its stop is ended after its grace, within 15 s', async () => {
    const { host, pid } = await startStubborn();
    host.kill('SIGTERM');
    expect(await host.ended).toMatchObject({ code: 0, signal: null });
    expect(isAlive(pid)).toBe(false);
    expect(readdirSync(join(place.dir, 's'))).toEqual([]);
  });

  it('C171: a signal while the node is not there yet, and SIGHUP, stop it in order', async () => {
    writeConfig(place);
    place.env({ MODHOST_NODE_PASSWORD: 'hunter2' });
    const host = place.start('run', '--node', 'bitcoind', '--node-url', 'http://127.0.0.1:1', '--node-user', 'x');
    await host.until('NODE_UNAVAILABLE');
    host.kill('SIGHUP');
    const { code, out, err } = await host.ended;
    expect(code).toBe(0);
    expect(out + err).not.toContain('hunter2');
  });

  it('refuses a second host in the same directory, and leaves the first alone', async () => {
    writeConfig(place);
    const first = place.start('run');
    await first.until('"msg":"modhost has started"');
    const { code, out } = await place.run('run');
    expect(code).toBe(1);
    expect(out).toContain('ALREADY_RUNNING');
    expect((await place.run('list')).code).toBe(0);
    first.kill('SIGINT');
    expect((await first.ended).code).toBe(0);
  });

  it('prefers flags over the environment, and that over the file', async () => {
    writeConfig(place, '[log]\nlevel = "warn"\n');
    place.env({ MODHOST_DATA_DIR: join(place.dir, 'e'), MODHOST_LOG_LEVEL: 'info', MODHOST_MODULES_DIR: '/nowhere' });
    const host = place.start('run', '--data-dir', join(place.dir, 'f'), '--modules-dir', join(place.dir, 'm'));
    await host.until('"msg":"modhost has started"');
    const { out } = await place.run('status', '--json');
    expect(JSON.parse(out)).toMatchObject({
      host: {
        data_dir: join(place.dir, 'f', 'devchain'),
        modules_dir: join(place.dir, 'm'),
        socket_dir: join(place.dir, 's'),
        config_file: join(place.dir, 'modhost.toml'),
      },
    });
    expect(existsSync(join(place.dir, 'e'))).toBe(false);
    host.kill('SIGINT');
    await host.ended;
  });

  it('prints a summary and lines for people where they are asked for', async () => {
    writeConfig(place);
    const host = place.start('run', '--log-format', 'pretty');
    await host.until(/no module is enabled/);
    host.kill('SIGINT');
    const { out } = await host.ended;
    expect(out).toMatch(/^node +devchain .* SIMULATED/m);
    expect(out).toMatch(/^\d\d:\d\d:\d\dZ INFO {2}host +stopped$/m);
    // no colours in a pipe
    expect(out).not.toContain('\u001b');
  });

  it('C166: refuses a broken file before anything is started', async () => {
    writeConfig(place, '[limits]\nmax_memroy = 5\n');
    const { code, err } = await place.run('run');
    expect(code).toBe(2);
    expect(err).toMatch(
      /^modhost: BAD_CONFIG: .*modhost\.toml, line 10: limits\.max_memroy is not known; did you mean 'memory_mb'\?\n$/,
    );
    expect(existsSync(join(place.dir, 's'))).toBe(false);
  });
});
