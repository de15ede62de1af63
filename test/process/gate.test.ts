import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { chmod, chown } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { delay } from '../../src/core/delay.js';
import { describeExit } from '../../src/process/exit.js';
import { sweepChains } from '../../src/process/leftovers.js';
import { boundedBy } from '../../src/sandbox/containment.js';
import { launchWord } from '../../src/sandbox/gate.js';
import { DEFAULT_LIMITS } from '../../src/sandbox/limits.js';
import { createPlace, type Place, sandboxToolchain } from '../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();
const isRoot = process.getuid?.() === 0;

/** How long what was killed is waited for. */
const GONE = { timeout: 5_000 };

/** Holds memory until it may have no more: prints what stopped it, or is killed. */
const GREEDY = `
held = []
try:
    for _ in range(64):
        held.append(bytearray(4 * 1024 * 1024))
    print('all of it')
except MemoryError:
    print('refused')
`;

/** Forks until it is refused and prints how many there were. */
const BOMB = `
import os, time
count = 0
try:
    while count < 300:
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
        count += 1
    print('all of them')
except OSError as error:
    print('refused after', count, 'by', error.errno)
`;

describe.skipIf(skip).each(['confined', 'unconfined'] as const)('the start gate, %s', (kind) => {
  let place: Place;
  beforeAll(async () => {
    place = await createPlace(kind);
  });
  afterAll(() => place.remove());

  test('nothing of the module runs before the host says go, not even by way of the loader', async () => {
    const { data } = place.directories;
    const traces = (): string[] => readdirSync(data).filter((name) => name.startsWith('trace'));
    const view = place.engine.view(place.directories).data;
    // The loader of glibc obeys these in every program that gets them: whose trace is found has run.
    const env = new Map([
      ['LD_DEBUG', 'files'],
      ['LD_DEBUG_OUTPUT', `${view}/trace`],
    ]);
    let atGate: string[] = ['not asked'];
    const exit = await place.run(`#!/bin/sh\n: > ${view}/trace-of-module`, {
      env,
      async beforeGo() {
        await delay(100);
        atGate = traces();
      },
    });
    expect(exit).toMatchObject({ code: 0 });
    expect(atGate).toEqual([]);
    expect(traces()).toContain('trace-of-module');
    expect(traces().length).toBeGreaterThan(1);
  });

  test('what the host cannot do before go is the error of the start, and nothing is left', async () => {
    let pid = 0;
    const refusal = new HostError('NETWORK_UNAVAILABLE', 'no listener');
    const started = place.start(`#!/bin/sh\n: > "$DATA_DIR/ran"`, {
      async beforeGo(sandboxPid) {
        pid = sandboxPid;
        throw refusal;
      },
    });
    await expect(started).rejects.toBe(refusal);
    expect(existsSync(join(place.directories.data, 'ran'))).toBe(false);
    expect(pid).toBeGreaterThan(1);
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });

  test('the program gets an empty standard input and no descriptor of the gate', async () => {
    const { stdout } = await place.run('#!/bin/sh\nread line; echo "$?"; ls /proc/self/fd | tr "\\n" " "');
    expect(stdout.trim()).toBe('1\n0 1 2 3');
  });

  test('a path or a variable that a shell could misread is passed on as it is', async () => {
    const odd = 'a b"c\'d$HOME`x`\n=e';
    const { stdout } = await place.run('import json, os, sys\nprint(json.dumps([os.environ["ODD"], *sys.argv[1:]]))', {
      command: ['python', 'main', odd, '-n', '--', 'K=V'],
      env: new Map([['ODD', odd]]),
    });
    expect(JSON.parse(stdout)).toEqual([odd, odd, '-n', '--', 'K=V']);
  });

  test('a code above 128 is told as what is known of it', async () => {
    const own = await place.run('#!/bin/sh\nexit 137');
    const killed = await place.run('#!/bin/sh\nkill -KILL $$');
    if (kind === 'unconfined') {
      expect(own).toMatchObject({ code: 137, signal: null, isCertain: true });
      expect(killed).toMatchObject({ code: null, signal: 'SIGKILL', isCertain: true });
    } else {
      for (const exit of [own, killed]) expect(exit).toMatchObject({ signal: 'SIGKILL', isCertain: false });
      expect(describeExit(own)).toContain('137');
    }
    const stopped = await place.start('#!/bin/sh\nexec sleep 60');
    expect(await stopped.kill()).toMatchObject({ signal: 'SIGKILL', isCertain: true, requested: true });
  });

  test('C144: a file or a memory past its bound is refused by the kernel, and the module lives on', async () => {
    const limits = { ...DEFAULT_LIMITS, dataMb: 1, memoryMb: 64 };
    const file = await place.run(
      'import errno, os\ntry:\n    with open(os.environ["DATA_DIR"] + "/big", "wb") as f:\n        f.write(bytes(2 << 20))\nexcept OSError as e:\n    print(errno.errorcode[e.errno])',
      { command: ['python', 'main'], limits },
    );
    expect(file).toMatchObject({ code: 0, stdout: 'EFBIG' });
    // A shell does not ignore the signal of its own accord, as Python does.
    const shell = await place.run('#!/bin/sh\nhead -c 2000000 /dev/zero > "$DATA_DIR/big2" || echo refused', {
      limits,
    });
    expect(shell).toMatchObject({ code: 0, stdout: 'refused' });
    expect(await place.run(GREEDY, { command: ['python', 'main'], limits })).toMatchObject({ stdout: 'refused' });
    expect(await place.run(GREEDY, { command: ['python', 'main'] })).toMatchObject({ stdout: 'all of it' });
  });
});

describe.skipIf(skip)('a module in a control group', () => {
  let confined: Place;
  let unconfined: Place;
  beforeAll(async () => {
    confined = await createPlace('confined');
    unconfined = await createPlace('unconfined');
  });
  afterAll(async () => {
    await confined.remove();
    await unconfined.remove();
  });
  /** The groups of the first place, or an account of why there are none. */
  const groupsHere = () => {
    if (confined.groups === undefined) process.stdout.write('no control groups on this machine: nothing to try\n');
    return confined.groups;
  };

  test('C143: it is in the group before it runs, and all of it ends with it, sessions of its own included', async () => {
    const groups = groupsHere();
    if (groups === undefined) return;
    for (const place of [confined, unconfined]) {
      const group = await groups.create(`group-${place === confined}`, DEFAULT_LIMITS);
      let atGate: number[] = [];
      const running = await place.start(
        '#!/bin/sh\nsetsid sleep 99 &\n(setsid sleep 98 <&- >&- 2>&- &)\nsleep 0.1\necho up\nexec sleep 97',
        {
          group,
          bounded: boundedBy(groups.powers),
          beforeGo: async () => {
            atGate = group.members();
          },
        },
      );
      expect(atGate).toContain(running.pid);
      await expect.poll(() => place.lines.map(({ text }) => text)).toContain('up');
      const members = group.members();
      expect(members.length).toBeGreaterThanOrEqual(3);
      expect(await running.kill()).toMatchObject({ signal: 'SIGKILL', requested: true });
      // killed by then; on a busy machine each still needs a moment of the processor to be gone
      await expect.poll(() => members.filter((pid) => existsSync(`/proc/${pid}`) && !isZombie(pid)), GONE).toEqual([]);
      expect(group.members()).toEqual([]);
    }
  });

  test('C144: memory that was spent is told by the counter, and a mere exit code 137 is not', async () => {
    const groups = groupsHere();
    if (groups?.powers.memory === undefined) return;
    const limits = { ...DEFAULT_LIMITS, memoryMb: 40 };
    const bounded = boundedBy(groups.powers);
    const greedy = await confined.run(GREEDY, {
      command: ['python', 'main'],
      limits,
      group: await groups.create('group-greedy', limits),
      bounded,
    });
    expect(greedy).toMatchObject({ signal: 'SIGKILL', requested: false, stdout: '' });
    expect(greedy.oomKills).toBeGreaterThan(0);
    expect(describeExit(greedy)).toContain('memory');
    const liar = await confined.run('#!/bin/sh\nexit 137', {
      group: await groups.create('group-liar', limits),
      bounded,
    });
    expect(liar).toMatchObject({ signal: 'SIGKILL', isCertain: false, oomKills: 0 });
    expect(describeExit(liar)).not.toContain('memory');
  });

  test('a group whose module never starts is removed as well', async () => {
    const groups = groupsHere();
    if (groups === undefined) return;
    const group = await groups.create('group-of-none', DEFAULT_LIMITS);
    await expect(confined.start('#!/module/none\n', { group })).rejects.toMatchObject({ reason: 'START_FAILED' });
    const [file = ''] = group.joinFiles;
    expect(existsSync(file)).toBe(false);
    await expect(confined.start('#!/bin/sh\n', { group })).rejects.toMatchObject({ reason: 'START_FAILED' });
    const other = await groups.create('group-of-absent', DEFAULT_LIMITS);
    await expect(confined.start('#!/bin/sh\n', { group: other, entryPoint: 'absent' })).rejects.toMatchObject({
      reason: 'BAD_ENTRY_POINT',
    });
    expect(other.joinFiles.some((path) => existsSync(path))).toBe(false);
  });
});

describe.skipIf(skip)('what a host that was killed may leave', () => {
  test('its chains and sandboxes are found by its word, and nobody else is', async () => {
    const place = await createPlace();
    const other = await createPlace();
    const waiting = spawn('sh', ['-c', 'read line', launchWord(place.root)], { stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = new Promise((resolve) => waiting.once('exit', (_, signal) => resolve(signal)));
    try {
      const sandboxed = await place.start('#!/bin/sh\nsetsid sleep 99 &\nexec sleep 98');
      const stranger = await other.start('#!/bin/sh\nexec sleep 97');
      // The waiting shell, and bubblewrap outside and inside.
      expect(sweepChains(launchWord(place.root))).toBe(3);
      expect(await ended).toBe('SIGKILL');
      expect(await sandboxed.exited).toMatchObject({ signal: 'SIGKILL', requested: false });
      expect(existsSync(`/proc/${stranger.pid}`)).toBe(true);
      expect(sweepChains(launchWord(place.root))).toBe(0);
      await stranger.kill();
    } finally {
      waiting.kill('SIGKILL');
      await place.remove();
      await other.remove();
    }
  });
});

describe.skipIf(skip)('what needs no root', () => {
  const parent = mkdtempSync(join(tmpdir(), 'mh-user-'));
  const user = 4242;
  const others: ChildProcess[] = [];
  beforeAll(async () => {
    await chmod(parent, 0o711);
    if (isRoot) await chown(parent, user, user);
  });
  afterAll(() => {
    for (const other of others) other.kill('SIGKILL');
    rmSync(parent, { recursive: true, force: true });
  });

  test('C144: processes are counted in the sandbox alone, whatever else its user runs outside', async () => {
    const asUser = isRoot ? ['setpriv', '--reuid', `${user}`, '--regid', `${user}`, '--clear-groups', '--'] : [];
    const [first = '', ...rest] = [...asUser, 'sleep', '60'];
    for (let i = 0; i < DEFAULT_LIMITS.pids; i += 1) others.push(spawn(first, rest, { stdio: 'ignore' }));
    const host = new URL('./host-program.ts', import.meta.url).pathname;
    const script = `#!/usr/bin/python3\n${BOMB}`;
    const [file = '', ...args] = [...asUser, process.execPath, '--import', 'tsx', host, script, parent];
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH, HOME: parent },
    });
    others.push(child);
    let printed = '';
    child.stdout?.on('data', (part: Buffer) => {
      printed += part.toString();
    });
    await expect.poll(() => printed, { timeout: 40_000, interval: 50 }).toMatch(/refused|all of them/);
    expect(printed).toContain(`refused after ${DEFAULT_LIMITS.pids - 1} by 11`);
  });
});

describe.skipIf(skip)('a network that holds nothing but itself', () => {
  let place: Place;
  beforeAll(async () => {
    place = await createPlace();
  });
  afterAll(() => place.remove());

  test('every address and port is local, names are those that the host gave, and the module cannot change it', async () => {
    let namespace = '';
    const name = `${randomBytes(4).toString('hex')}.example`;
    const answer = await place.run(
      `#!/bin/sh
readlink /proc/self/ns/net
grep -c : /proc/net/dev
grep ${name} /etc/hosts
python3 -c 'import socket
for family, address in ((socket.AF_INET, "203.0.113.7"), (socket.AF_INET, "8.8.8.8")):
    s = socket.socket(family); s.bind((address, 53)); print(s.getsockname()[0])'
ip link set lo down 2>/dev/null || echo refused
ip route flush table local 2>/dev/null || echo refused
(echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start) 2>/dev/null || echo refused
(echo x >> /etc/hosts) 2>/dev/null || echo refused`,
      {
        network: { hosts: [{ address: '127.0.1.1', name }] },
        beforeGo: async (pid) => {
          namespace = readlinkSync(`/proc/${pid}/ns/net`);
        },
      },
    );
    const [own, devices, hosts, ...rest] = answer.stdout.split('\n');
    expect(own).toBe(namespace);
    expect(own).not.toBe(readlinkSync('/proc/self/ns/net'));
    expect({ devices, hosts }).toEqual({ devices: '1', hosts: `127.0.1.1 ${name}` });
    expect(rest).toEqual(['203.0.113.7', '8.8.8.8', ...Array(4).fill('refused')]);
  });
});

function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return true;
  }
}
