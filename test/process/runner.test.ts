import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { defaultInterpreters, resolveInterpreter } from '../../src/process/interpreters.js';
import { killOrphanedGroup, payloadOf, searchedChild, signalPayload } from '../../src/process/payload.js';
import { createRunner } from '../../src/process/runner.js';
import { DEFAULT_LIMITS } from '../../src/sandbox/limits.js';
import { createPlace, type Place, sandboxToolchain } from '../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();

describe.skipIf(skip)('one process, from start to exit', () => {
  let place: Place;
  beforeAll(async () => {
    place = await createPlace();
  });
  afterAll(() => place.remove());

  test('C139: how it ended is told with code or signal, and its last words', async () => {
    const ends: [string, object][] = [
      ['exit 0', { code: 0, signal: null }],
      ['echo last words >&2; exit 1', { code: 1, signal: null, stderrTail: 'last words\n' }],
      ['exit 42', { code: 42, signal: null }],
      ['kill -SEGV $$', { code: null, signal: 'SIGSEGV' }],
      ['kill -KILL $$', { code: null, signal: 'SIGKILL' }],
      ['kill -ABRT $$', { code: null, signal: 'SIGABRT' }],
    ];
    for (const [script, expected] of ends) {
      expect(await place.run(`#!/bin/sh\n${script}`), script).toMatchObject({ ...expected, requested: false });
    }
    const { stderrTail } = await place.run(
      '#!/bin/sh\nhead -c 100000 /dev/zero | tr "\\0" x >&2; echo end >&2; exit 1',
    );
    expect(stderrTail).toHaveLength(4096);
    expect(stderrTail.endsWith('xend\n')).toBe(true);
  });

  test('C139 and C022: what cannot be executed is told apart before anything runs', async () => {
    const refusal = (script: string, options = {}) => expect(place.start(script, options), script).rejects;
    await refusal('no shebang, no program').toMatchObject({ reason: 'START_FAILED', details: { errno: 'ENOEXEC' } });
    await refusal('#!/usr/bin/no-such-shell\n').toMatchObject({ reason: 'START_FAILED', details: { errno: 'ENOENT' } });
    await refusal('#!/module/no-such-shell\n').toMatchObject({ reason: 'START_FAILED', details: { errno: 'ENOENT' } });
    await refusal('#!/module\n').toMatchObject({ reason: 'START_FAILED', details: { errno: 'EACCES' } });
    const elf = Buffer.alloc(64);
    elf.write('\x7fELF\x02\x01\x01', 'latin1');
    elf.writeUInt16LE(process.arch === 's390x' ? 62 : 22, 18);
    await refusal(elf.toString('latin1')).toMatchObject({ reason: 'START_FAILED', details: { errno: 'ENOEXEC' } });
    await refusal('').toMatchObject({ reason: 'BAD_ENTRY_POINT' });
    await refusal('#!/bin/sh\n', { entryPoint: 'absent' }).toMatchObject({ reason: 'BAD_ENTRY_POINT' });

    const { code } = place.directories;
    await mkdir(join(code, 'folder'), { recursive: true });
    await writeFile(join(code, 'plain'), '#!/bin/sh\n', { mode: 0o644 });
    await symlink('/bin/sh', join(code, 'link'));
    await symlink('folder', join(code, 'linked-folder'));
    await writeFile(join(code, 'folder', 'main'), '#!/bin/sh\n', { mode: 0o755 });
    for (const entryPoint of ['folder', 'plain', 'link', 'linked-folder/main']) {
      await refusal('#!/bin/sh\n', { entryPoint }).toMatchObject({ reason: 'BAD_ENTRY_POINT' });
    }
    expect(await place.run('#!/bin/sh\n', { entryPoint: 'folder/main' })).toMatchObject({ code: 0 });
  });

  test('interpreters come from the operator, with the cure where they lack', async () => {
    const { stdout } = await place.run('import os, sys\nprint(sys.version_info.major, os.getcwd())\n', {
      command: ['python', 'main'],
    });
    expect(stdout).toBe('3 /module');
    const node = await place.run('console.log(process.version)', { command: ['node', 'main'] });
    expect(node.stdout).toBe(process.version);
    await expect(place.start('', { command: ['ruby', 'main'] })).rejects.toMatchObject({
      reason: 'INTERPRETER_MISSING',
    });
    const table = defaultInterpreters([['lua', '/nowhere/lua']]);
    await expect(resolveInterpreter('lua', table)).rejects.toMatchObject({ reason: 'INTERPRETER_MISSING' });
    expect(defaultInterpreters([['python', '/opt/python']]).get('python')).toBe('/opt/python');
    await expect(resolveInterpreter('constructor', table)).rejects.toMatchObject({ reason: 'INTERPRETER_MISSING' });
  });

  test('an interpreter outside of /usr is shown by itself', async () => {
    const home = join(place.root, 'home', 'bin');
    await mkdir(home, { recursive: true });
    const { code } = place.directories;
    await writeFile(join(home, 'secret'), 'neighbour');
    const script = join(home, 'tool');
    await writeFile(script, '#!/bin/sh\necho "$0 $1"; ls /opt/modhost\n', { mode: 0o755 });
    const { uid, gid } = await stat(place.directories.data);
    const lines: string[] = [];
    const runner = createRunner({
      engine: place.engine,
      interpreters: defaultInterpreters([['tool', script]]),
      logger: createSilentLogger(),
      clock: createSystemClock(),
    });
    await writeFile(join(code, 'main'), '');
    const running = await runner.start({
      name: 'with-tool',
      instanceId: 'i',
      directories: place.directories,
      files: { socket: 's', token: 't' },
      entryPoint: 'main',
      command: ['tool', 'argument'],
      env: new Map(),
      limits: DEFAULT_LIMITS,
      identity: place.ownUsers ? { uid, gid } : undefined,
      onLine: ({ text }) => lines.push(text),
    });
    expect(await running.exited).toMatchObject({ code: 0 });
    expect(lines).toEqual(['/opt/modhost/tool argument', 'tool']);
  });

  test('the environment is what the contract says and what the manifest adds, in that order of right', async () => {
    process.env.MODHOST_TEST_LEAK = 'must not be seen';
    const { stdout } = await place.run('#!/bin/sh\nexec env', {
      env: new Map([
        ['LANG', 'C.UTF-8'],
        ['MODHOST_SOCKET', '/evil'],
        ['EMPTY', ''],
      ]),
    });
    delete process.env.MODHOST_TEST_LEAK;
    expect(stdout.split('\n').sort()).toEqual([
      'DATA_DIR=/data',
      'EMPTY=',
      'LANG=C.UTF-8',
      'MODHOST_DATA_DIR=/data',
      'MODHOST_INSTANCE_ID=spawn-1',
      'MODHOST_MODULE_ID=probe-module',
      'MODHOST_SOCKET=/run/host/module.sock',
      'MODHOST_TOKEN_FILE=/run/host/token',
      'MODULE_ID=probe-module',
      'MODULE_NAME=probe-module',
      'PATH=/usr/local/bin:/usr/bin:/bin',
      'PWD=/module',
      'SOCKET_PATH=/run/host/module.sock',
    ]);
  });

  test('a good module hears SIGTERM itself and leaves in its own way', async () => {
    const running = await place.start(
      '#!/bin/sh\ntrap "echo bye; exit 7" TERM\necho ready\nwhile :; do sleep 0.05; done',
    );
    await expect.poll(() => place.lines.map(({ text }) => text)).toContain('ready');
    expect(await running.stop(10_000)).toEqual({
      code: 7,
      signal: null,
      isCertain: true,
      oomKills: undefined,
      stderrTail: '',
      requested: true,
    });
    expect(place.lines.map(({ text }) => text)).toContain('bye');
    expect(existsSync(`/proc/${running.pid}`)).toBe(false);
    expect(await running.stop(10_000)).toEqual(await running.exited);
  });

  test('C140: what ignores SIGTERM or was stopped is killed after the grace', async () => {
    const stubborn = await place.start('#!/bin/sh\ntrap "" TERM\necho ready\nwhile :; do sleep 0.05; done');
    await expect.poll(() => place.lines.length).toBe(1);
    expect(await stubborn.stop(200)).toMatchObject({ code: null, signal: 'SIGKILL', requested: true });

    const hung = await place.start('#!/bin/sh\necho ready\nkill -STOP $$\necho never');
    await expect.poll(() => place.lines.length).toBe(1);
    expect(await hung.stop(200)).toMatchObject({ signal: 'SIGKILL', requested: true });
    expect(place.lines.map(({ text }) => text)).toEqual(['ready']);
  });

  test('C145: closed standard streams, an endless line, binary noise: heard in bounded memory', async () => {
    expect(await place.run('#!/bin/sh\nexec <&- >&- 2>&-\nsleep 0.1\nexit 3')).toMatchObject({ code: 3 });
    const before = process.memoryUsage();
    const { stderr } = await place.run('#!/bin/sh\nhead -c 64000000 /dev/zero | tr "\\0" x >&2\necho >&2');
    const after = process.memoryUsage();
    expect(stderr).toHaveLength(8192);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(32 * 1024 * 1024);

    const noise = await place.run('#!/bin/sh\nhead -c 300000 /dev/urandom\necho\necho end');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: asserting their absence
    expect(noise.stdout.replaceAll('\n', '')).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/);
    expect(place.lines.at(-1)?.text).toBe('end');
  });

  test('C146: a signal reaches only the process that was started', async () => {
    const stranger = spawn('sleep', ['60']);
    try {
      const found = payloadOf(stranger.pid ?? 0);
      expect(found?.pid).toBe(stranger.pid);
      // The same pid, another start: what a stranger looks like that got a dead module's number.
      expect(signalPayload({ pid: stranger.pid ?? 0, startTicks: '1' }, 'SIGKILL')).toBe(false);
      killOrphanedGroup(stranger.pid ?? 0);
      expect(stranger.kill(0)).toBe(true);
      expect(found !== undefined && signalPayload(found, 'SIGKILL')).toBe(true);
      await new Promise((resolve) => stranger.once('exit', resolve));
      expect(found !== undefined && signalPayload(found, 'SIGKILL')).toBe(false);
    } finally {
      stranger.kill('SIGKILL');
    }
  });

  test('the pid is that of the program, not of a launcher, whatever of /proc the kernel has', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    try {
      const among = readdirSync('/proc').filter((name) => parentOf(name) === process.pid);
      expect(among).toContain(String(child.pid));
      expect(among).toContain(String(searchedChild(process.pid)));
      expect(searchedChild(child.pid ?? 0)).toBeUndefined();
    } finally {
      child.kill('SIGKILL');
    }
    const running = await place.start('#!/bin/sh\necho ready; exec sleep 60');
    await expect.poll(() => place.lines.length).toBe(1);
    await expect.poll(() => readFileSync(`/proc/${running.pid}/comm`, 'utf8')).toBe('sleep\n');
    await running.kill();
  });

  test('starts that fail leave no process and no descriptor', async () => {
    const open = (): number => readdirSync('/proc/self/fd').length;
    await place.run('#!/bin/sh\n');
    const before = open();
    for (let round = 0; round < 5; round += 1) {
      await expect(place.start('#!/module/none\n')).rejects.toMatchObject({ reason: 'START_FAILED' });
      await place.run('#!/bin/sh\n');
    }
    await expect.poll(open).toBeLessThanOrEqual(before);
    await chmod(place.directories.code, 0o755);
    await rm(join(place.directories.code, 'link'), { force: true });
  });
});

test('without any sandbox the group of a module ends with its leader', async () => {
  const place = await createPlace('unconfined');
  try {
    const running = await place.start('#!/bin/sh\nsleep 60 &\necho $!\nexec sleep 60');
    await expect.poll(() => place.lines.length).toBe(1);
    const child = Number(place.lines[0]?.text);
    expect(isAlive(child)).toBe(true);
    await running.stop(0);
    await expect.poll(() => isAlive(child)).toBe(false);
  } finally {
    await place.remove();
  }
});

/** True while a process runs; a zombie that nobody has reaped does not. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

function parentOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
