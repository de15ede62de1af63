import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createTalkingHost, type TalkingHost } from './talking-host.js';

let rig: TalkingHost;
const ask: TalkingHost['ask'] = (...words) => rig.ask(...words);

beforeAll(async () => {
  rig = await createTalkingHost();
  // the option parser reads the environment of the process itself
  vi.stubEnv('MODHOST_CONFIG', join(rig.place.dir, 'modhost.toml'));
}, 60_000);

afterAll(async () => {
  vi.unstubAllEnvs();
  await rig.place.dispose();
});

describe('commands of modules', () => {
  it('are listed, explained as a set, and explained one by one', async () => {
    const all = await ask('cli');
    expect(all.out).toMatch(/^talk \(module talker\): says what it is told\n {2}echo +repeats its arguments as JSON$/m);
    const sets = JSON.parse((await ask('cli', '--json')).out) as { module: string; spec: { name: string } }[];
    expect(sets).toMatchObject([{ module: 'talker', spec: { name: 'talk' } }]);
    for (const name of ['talk', 'talker']) expect((await ask('cli', name)).out).toMatch(/^Usage: modhost cli talk </);
    const one = await ask('cli', 'talk', 'echo', '--help');
    expect(one).toMatchObject({ code: 0, err: '' });
    expect(one.out).toContain('Usage: modhost cli talk echo [--times <times>] [--shout] <word>');
    expect(one.out).toMatch(/word +what to repeat \(required\)/);
    expect(one.out).toMatch(/-n, --times <times> +how often \(default: 1\)/);
    expect((await ask('cli', '--help')).out).toMatch(/Without words it lists all commands/);
  });

  it('run with the words as typed; output and exit code are the module’s', async () => {
    const words = ['--times=2', '-s', 'a b', '--', '--json', '-x'];
    const { code, out, err } = await ask('cli', 'talk', 'echo', ...words);
    expect({ code, err }).toEqual({ code: 0, err: 'to the side\n' });
    expect(JSON.parse(out)).toEqual({ args: words, terminal: false, columns: 0 });
    expect(await ask('cli', 'talker', 'fail', '77')).toEqual({ code: 77, out: '', err: 'it failed\n' });
    const told = await ask('cli', '--json', 'talk', 'fail', '3');
    expect(told.code).toBe(3);
    expect(JSON.parse(told.out)).toEqual({
      ...{ name: 'talk', subcommand: 'fail', exit_code: 3, stdout: '', stderr: 'it failed\n' },
    });
    expect(JSON.parse((await ask('cli', '--json', 'talk', 'raw')).out)).toMatchObject({
      stdout_base64: Buffer.from([0x1b, 0x5b, 0x32, 0x4a, 0xff, 0x00, 0x0a]).toString('base64'),
    });
  });

  it.each([
    [1, 'METHOD_NOT_FOUND: .*did you mean echo', ['talk', 'ecko', 'x']],
    [1, 'MODULE_NOT_FOUND: .*did you mean talk', ['tolk', 'echo', 'x']],
    [2, 'INVALID_REQUEST: <word> is missing; usage: modhost cli talk echo', ['talk', 'echo']],
    [2, 'INVALID_REQUEST: there is no flag "--tims", did you mean --times', ['talk', 'echo', '--tims', '2', 'x']],
    [2, 'INVALID_REQUEST: there is no flag "-x"', ['talk', 'echo', '-sx', 'y']],
    [2, 'INVALID_REQUEST: --shout takes no value', ['talk', 'echo', '--shout=1', 'y']],
    [2, 'INVALID_REQUEST: --depth wants a value', ['talk', 'need', '--depth']],
    [2, 'INVALID_REQUEST: --depth is missing', ['talk', 'need']],
    [2, 'INVALID_REQUEST: "x" is one word too many', ['talk', 'need', '--depth', '1', 'x']],
    [2, 'INVALID_REQUEST: talker: that is no depth; usage', ['talk', 'refuse']],
    [1, 'DEADLINE_EXCEEDED', ['talk', 'late']],
    [1, 'MODULE_UNAVAILABLE: asleep does not run', ['asleep', 'anything']],
  ])('end with %i and %s', async (expected, words, command) => {
    const { code, out, err } = await ask('cli', ...command);
    expect({ code, out }).toEqual({ code: expected, out: '' });
    expect(err).toMatch(new RegExp(`^modhost: ${words}`));
  });

  it('are given up in the module by Ctrl-C', async () => {
    const waiting = rig.place.start('cli', 'talk', 'wait');
    const loaded = async (): Promise<boolean> => {
      const { out } = await ask('top', '--once', '--interval', '0.5', '--json');
      return (JSON.parse(out) as { modules: { open_invocations: number }[] }).modules[0]?.open_invocations === 1;
    };
    while (!(await loaded()));
    waiting.kill('SIGINT');
    expect(await waiting.ended).toMatchObject({ code: 130, err: expect.stringContaining('CANCELLED') });
    await rig.host.until('wait was given up');
  });

  it('reach a pipe byte for byte', async () => {
    const { out } = await rig.place.run('cli', 'talk', 'raw');
    // the one byte that is no text is replaced by the test's own decoder
    expect(out).toBe('\u001b[2J\ufffd\u0000\n');
  });
});
