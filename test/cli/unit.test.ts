import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemdUnit, type UnitChoice } from '../../src/cli/systemd-unit.js';
import { requireToolchain } from '../toolchain.js';
import { createAsker, createPlace, type Place, writeConfig } from './command-line.js';

let place: Place;
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.dispose());

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
const { skip } = requireToolchain(
  'systemd',
  hasSystemd
    ? { available: true }
    : { available: false, reason: 'systemd-analyze and systemd-notify: apt install systemd' },
);

/** Writes down the datagrams of a notify socket, one line for each, as a service manager reads them. */
const MANAGER = `import socket, sys
ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
ear.bind(sys.argv[1])
print("listening", flush=True)
while True:
    # a descriptor that comes along is systemd-notify's barrier: not taking it lets the sender go on
    print(ear.recv(4096).decode().strip().replace("\\n", ";"), flush=True)
`;

const CHOICE: UnitChoice = {
  node: '/usr/bin/node',
  main: '/opt/modhost/dist/src/cli/main.js',
  config: '/etc/modhost/modhost.toml',
  runAs: { kind: 'root' },
  writable: [],
};

describe.skipIf(skip)('modhost unit', () => {
  it.each<[string, Partial<UnitChoice>]>([
    ['root', {}],
    ['a user of its own', { runAs: { kind: 'user', name: 'modhost' } }],
    ['a session', { runAs: { kind: 'session' } }],
    ['odd paths', { config: '/srv/my node/100% "sure" $HOME\\x.toml', writable: ['/srv/my data'] }],
  ])('systemd takes the unit for %s without a word', (_name, change) => {
    const dir = mkdtempSync(join(tmpdir(), 'mhu-'));
    try {
      const path = join(dir, 'modhost.service');
      // verify looks whether the programs are there
      writeFileSync(path, systemdUnit({ ...CHOICE, node: process.execPath, ...change }));
      const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
      expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: '' });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('keeps a specifier, a variable and a quote of a path as they are', () => {
    const unit = systemdUnit({ ...CHOICE, config: '/a b/50%"$HOME' });
    expect(unit).toContain(
      'ExecStart=/usr/bin/node /opt/modhost/dist/src/cli/main.js run --config "/a b/50%%\\"$$HOME"',
    );
  });

  it('refuses a path with a line end, which could add a line of its own to the unit', () => {
    const attempt = () => systemdUnit({ ...CHOICE, config: '/a\nExecStartPre=/bin/rm' });
    expect(attempt).toThrowError(expect.objectContaining({ reason: 'BAD_CONFIG' }));
  });

  it('prints the unit of the built program; a user and a session exclude each other', async () => {
    const ask = createAsker(place);
    const { code, out } = await ask('unit', '--user', 'modhost', '--writable', '/srv/x');
    expect(code).toBe(0);
    expect(out).toMatch(/ExecStart=.*dist\/src\/cli\/main\.js run --config \/etc\/modhost\/modhost\.toml/);
    expect(out).toContain('User=modhost');
    expect(out).toContain('ReadWritePaths=/srv/x');
    expect((await ask('unit', '--user', 'x', '--session')).err).toContain('BAD_CONFIG');
  });
});

describe.skipIf(skip)('under a service manager', () => {
  it('tells that it is ready, that it lives, and that it stops', async () => {
    const socket = join(place.dir, 'notify');
    const manager = spawn('/usr/bin/python3', ['-c', MANAGER, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      let heard = '';
      manager.stdout.on('data', (chunk: Buffer) => {
        heard += chunk.toString();
      });
      const hears = async (pattern: RegExp): Promise<void> => {
        await expect.poll(() => heard, { timeout: 30_000, interval: 50 }).toMatch(pattern);
      };
      await hears(/listening/);
      writeConfig(place, '[sandbox]\nminimum = "none"\n');
      place.env({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: '900000' });
      const host = place.start('run');
      await hears(/READY=1;STATUS=on devchain/);
      await hears(/(?:WATCHDOG=1[\s\S]*){3}/);
      expect(heard).not.toContain('STOPPING');
      host.kill('SIGTERM');
      await hears(/STOPPING=1/);
      expect(await host.ended).toMatchObject({ code: 0 });
    } finally {
      manager.kill('SIGKILL');
    }
  });
});
