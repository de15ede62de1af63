import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createAsker, createPlace, type Started, writeConfig } from './command-line.js';

const place = createPlace();
const ask = createAsker(place);
let host: Started;

const manifest = (name: string): string =>
  `name = "${name}"\nversion = "1.2.0"\ncapabilities = ["read_blockchain", "subscribe_events"]\n`;

beforeAll(async () => {
  // the option parser reads the environment of the process itself
  vi.stubEnv('MODHOST_CONFIG', join(place.dir, 'modhost.toml'));
  writeConfig(
    place,
    `[sandbox]
minimum = "none"
[modules.block-watch]
run = "external"
grants = ["subscribe_events"]
[modules.asleep]
enabled = false
run = "external"
unsigned = true
`,
  );
  for (const name of ['block-watch', 'asleep', 'stranger']) place.write(`m/${name}/module.toml`, manifest(name));
  place.write('m/broken/module.toml', 'name = "broken"\n');
  host = place.start('run', '--allow-unsigned', 'block-watch', '--log-format', 'json');
  await host.until('waits for somebody');
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await place.dispose();
});

const json = async (...words: string[]): Promise<unknown> => {
  const { code, out, err } = await ask(...words, '--json');
  expect(err).toBe('');
  expect(code).toBe(0);
  return JSON.parse(out) as unknown;
};

const jsonLines = (out: string): Record<string, unknown>[] =>
  out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('asking a running host', () => {
  it('lists modules, for people and for scripts', async () => {
    const modules = (await json('list')) as Record<string, unknown>[];
    expect(modules.map(({ name, state }) => [name, state])).toEqual([
      ['asleep', 'STOPPED'],
      ['block-watch', 'STARTING'],
      ['broken', 'FAILED'],
      ['stranger', 'FAILED'],
    ]);
    expect(modules[1]).toMatchObject({
      version: '1.2.0',
      pid: 0,
      restarts: 0,
      run_mode: 'EXTERNAL',
      unsigned: true,
      granted: ['SUBSCRIBE_EVENTS'],
      withheld: ['READ_BLOCKCHAIN'],
      external_socket: join(place.dir, 's', 'x-block-watch', 'host.sock'),
    });
    expect(JSON.stringify(modules)).not.toContain('"token"');

    const { out } = await place.run('list');
    expect(out.split('\n')[0]).toMatch(/^NAME +VERSION +STATE +PID +RESTARTS +UP +NOTE$/);
    expect(out).toMatch(/^block-watch +1\.2\.0 +STARTING .*UNSIGNED/m);
    expect(out).not.toContain('\u001b');
  });

  it('C168: shows on every start, in log and status, what runs unsigned', async () => {
    const log = jsonLines(host.out());
    expect(
      log.some(
        ({ level, module, msg }) => level === 'warn' && module === 'block-watch' && /UNSIGNED/.test(String(msg)),
      ),
    ).toBe(true);
    const status = (await json('status')) as { host: { warnings: { code: string; module: string }[] } };
    expect(status.host.warnings).toContainEqual(
      expect.objectContaining({ code: 'unsigned_module', module: 'block-watch' }),
    );
    const { out } = await ask('status');
    expect(out).toMatch(/UNSIGNED +runs at your word/);
    expect(out).toContain('SIMULATED');
  });

  it('tells the node with its tip in display order', async () => {
    const mined = (await json('devchain', 'mine', '2')) as { height: number; hashes: string[] };
    const status = (await json('status')) as { node: Record<string, unknown> };
    expect(status.node).toMatchObject({ kind: 'devchain', simulated: true, tip_height: mined.height });
    expect(status.node.tip_hash).toBe(mined.hashes.at(-1));
    // regtest's target: the highest bit of a hash as people write it is 0
    for (const hash of mined.hashes) expect(hash).toMatch(/^[0-7]/);
  });

  it('follows events, and moves the devchain', async () => {
    const events = place.start('events', 'NewBlock', 'block_disconnected', '--count', '4', '--json');
    // the stream has begun when a block arrives: older ones are never told
    let mined: { hashes: string[] } = { hashes: [] };
    while (!events.out().includes('NewBlock')) mined = (await json('devchain', 'mine', '1')) as { hashes: string[] };
    const reorg = (await json('devchain', 'reorg', '1')) as { disconnected: string[]; connected: string[] };
    expect(reorg.disconnected).toEqual(mined.hashes);
    expect(reorg.connected).toHaveLength(2);
    const { code, out } = await events.ended;
    expect(code).toBe(0);
    const told = jsonLines(out);
    expect(told).toHaveLength(4);
    for (const event of told) {
      expect(event).toMatchObject({ source: 'node', replayed: false });
      expect(typeof event.sequence).toBe('number');
      expect((event.payload as { block_hash: string }).block_hash).toMatch(/^[0-9a-f]{64}$/);
    }
  });

  it('shows logs, audit, accounting and containment', async () => {
    const { out } = await ask('logs', 'block-watch', '-n', '3', '--json');
    for (const line of jsonLines(out)) expect(line).toMatchObject({ module: 'block-watch', source: 'HOST' });
    expect((await ask('logs', '--level', 'error')).out).toMatch(/^\d\d:\d\d:\d\dZ ERROR stranger /m);
    expect(await json('stats')).toMatchObject({ modules: expect.any(Array), published_total: expect.any(Number) });
    expect(await json('containment', 'block-watch')).toMatchObject({ minimum: 'none', machine: expect.any(Array) });
    const shown = await ask('containment');
    expect(shown.out).toMatch(/^minimum +none$/m);
    expect(shown.out).toMatch(/^disk +watched +.*limit/m);
    await ask('load', 'nobody');
    const audit = jsonLines((await ask('audit', '--json')).out);
    expect(audit).toContainEqual(expect.objectContaining({ kind: 'OPERATOR', module: 'nobody', message: 'load' }));
  });

  it('loads, unloads and reloads', async () => {
    expect(await json('load', 'asleep')).toMatchObject({ name: 'asleep', state: 'STARTING' });
    expect(await json('reload', 'asleep')).toMatchObject({ name: 'asleep', restarts: 1 });
    expect(await json('unload', 'asleep', '--cascade')).toMatchObject({
      module: { state: 'STOPPED' },
      also_unloaded: [],
    });
    const { out } = await ask('load', 'asleep');
    expect(out).toContain(`MODHOST_SOCKET=${join(place.dir, 's', 'x-asleep', 'host.sock')}`);
  });

  it('C169: answers a mistyped name with the nearest one, and fails', async () => {
    for (const command of ['load', 'unload', 'reload', 'stats', 'containment']) {
      const { code, out, err } = await ask(command, 'block-wacth');
      expect(code).toBe(1);
      expect(out).toBe('');
      expect(err).toMatch(/^modhost: MODULE_NOT_FOUND: .*did you mean block-watch\?\n$/);
    }
  });

  it.each([
    [1, 'MODULE_ALREADY_LOADED', ['load', 'block-watch']],
    [1, 'FIELD_REQUIRED: .*version', ['load', 'broken']],
    [2, 'did you mean list|Did you mean list', ['lst']],
    [2, 'missing required argument', ['load']],
    [2, 'whole number', ['devchain', 'mine', 'x']],
    [2, 'UNKNOWN_ENUM: .*NewBlock', ['events', 'NewBlok']],
    [3, 'no host runs', ['list', '--socket-dir', '/nowhere']],
    [4, 'UNSIGNED: .*--allow-unsigned stranger', ['load', 'stranger']],
  ])('exits with %i on %s', async (expected, words, command) => {
    const { code, out, err } = await ask(...command);
    expect(code).toBe(expected);
    expect(out).toBe('');
    expect(err).toMatch(new RegExp(words));
  });

  it('answers buf curl by reflection', async () => {
    const run = promisify(execFile);
    const { stdout } = await run('npx', [
      ...['buf', 'curl', '--protocol', 'grpc', '--http2-prior-knowledge'],
      ...['--unix-socket', join(place.dir, 's', 'admin.sock')],
      'http://localhost/modhost.admin.v1.AdminService/ListModules',
    ]);
    const { modules } = JSON.parse(stdout) as { modules: { name: string }[] };
    expect(modules.map(({ name }) => name)).toContain('block-watch');
  });

  it('stops the host and waits for its end', async () => {
    const { code, out } = await place.run('stop');
    expect(code).toBe(0);
    expect(out).toContain(`pid ${host.pid}`);
    expect((await host.ended).code).toBe(0);
    expect((await ask('list')).code).toBe(3);
  });
});
