import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import { diagnoseExit, diagnoseTimeout, type SocketFacts } from '../../src/process/diagnose.js';
import { mountOf } from '../../src/process/mount-flags.js';
import { readProgramHead } from '../../src/process/program-head.js';
import { createPlace, type Place, sandboxToolchain } from '../sandbox/spawn-module.js';

const { skip } = await sandboxToolchain();

const UNSEEN: SocketFacts = {
  connections: 0,
  called: false,
  refused: undefined,
  opened: false,
  ready: false,
  starting: '',
};

describe.skipIf(skip)('what the operator reads when a program does not start', () => {
  let place: Place;
  beforeAll(async () => {
    place = await createPlace();
  });
  afterAll(() => place.remove());

  /** The error that a start or the end after it comes to. */
  const fate = async (script: string | Buffer, options = {}): Promise<HostError> => {
    try {
      const exit = await place.run(script as string, options);
      return diagnoseExit('m', exit, UNSEEN);
    } catch (error) {
      return HostError.from(error);
    }
  };
  /** A real program, dynamically linked, with some of its bytes replaced. */
  const patched = (from: string, to: string): Buffer => {
    const program = readFileSync(realpathSync('/usr/bin/true'));
    const at = program.indexOf(`${from}\0`);
    expect(at, `${from} in a program of this machine`).toBeGreaterThan(0);
    program.write(to, at, 'latin1');
    return program;
  };
  const alien = (machine: number): Buffer => {
    const head = Buffer.alloc(64);
    head.write('\x7fELF\x02\x01\x01', 'latin1');
    head.writeUInt16LE(machine, 18);
    return head;
  };

  test('C139: each end has a cause of its own, with code or signal and its last words', async () => {
    const ends: [string, string, string, object][] = [
      ['#!/bin/sh\nexit 0\n', 'MODULE_CRASHED', 'exited', { code: 0 }],
      ['#!/bin/sh\necho why >&2; exit 1\n', 'MODULE_CRASHED', 'exited', { code: 1, stderr: 'why\n' }],
      ['#!/bin/sh\nkill -SEGV $$\n', 'MODULE_CRASHED', 'killed', { signal: 'SIGSEGV' }],
      ['#!/bin/sh\nkill -KILL $$\n', 'MODULE_CRASHED', 'killed', { signal: 'SIGKILL' }],
      ['#!/bin/sh\nkill -SYS $$\n', 'MODULE_CRASHED', 'forbidden-call', { signal: 'SIGSYS' }],
      ['#!/usr/bin/env no-such-interpreter\n', 'MODULE_CRASHED', 'interpreter-missing', { code: 127 }],
    ];
    for (const [script, reason, cause, details] of ends) {
      expect(await fate(script), script).toMatchObject({ reason, details: { cause, ...details } });
    }
    const { details } = await fate('#!/bin/sh\nhead -c 100000 /dev/zero | tr "\\0" x >&2; exit 3\n');
    expect(details.stderr).toHaveLength(4096);
  });

  test('C139: a program that this machine cannot execute is told before it is tried', async () => {
    const loader = (await readProgramHead(realpathSync('/usr/bin/true'))) as { loader: string };
    const heads: [string | Buffer, string, string][] = [
      ['', 'BAD_ENTRY_POINT', 'no-program'],
      ['no program', 'START_FAILED', 'no-program'],
      ['#!/usr/bin/no-such-shell\n', 'START_FAILED', 'interpreter-missing'],
      ['#!/opt/elsewhere/python\n', 'START_FAILED', 'interpreter-missing'],
      ['#!/module/no-such-shell\n', 'START_FAILED', 'interpreter-missing'],
      ['#!/bin/sh\r\nexit 0\r\n', 'START_FAILED', 'interpreter-missing'],
      ['#!\n', 'START_FAILED', 'interpreter-missing'],
      ['#!/module\n', 'START_FAILED', 'launcher'],
      [alien(process.arch === 's390x' ? 62 : 22), 'START_FAILED', 'wrong-architecture'],
      [patched(loader.loader, '/lib/ld-none'.padEnd(loader.loader.length, 'x')), 'START_FAILED', 'loader-missing'],
      [Buffer.from('MZ\x90\0 This program cannot be run in DOS mode'), 'START_FAILED', 'foreign-program'],
      [patched('libc.so.6', 'libq.so.6'), 'MODULE_CRASHED', 'library-missing'],
    ];
    const sentences = new Set<string>();
    for (const [bytes, reason, cause] of heads) {
      const error = await fate(bytes);
      expect(error, String(bytes).slice(0, 40)).toMatchObject({ reason, details: { cause } });
      sentences.add(error.message);
    }
    expect(sentences.size).toBe(heads.length);
  });

  test('C139: what the module’s user may not reach or execute is told with the cure', async () => {
    const { code } = place.directories;
    mkdirSync(join(code, 'deep', 'er'), { recursive: true });
    writeFileSync(join(code, 'deep', 'er', 'main'), '#!/bin/sh\n', { mode: 0o755 });
    writeFileSync(join(code, 'plain'), '#!/bin/sh\n', { mode: 0o644 });
    expect(await fate('', { entryPoint: 'absent' })).toMatchObject({ details: { cause: 'no-program' } });
    expect(await fate('', { entryPoint: 'plain' })).toMatchObject({
      reason: 'BAD_ENTRY_POINT',
      details: { cause: 'not-executable' },
    });
    chmodSync(join(code, 'deep'), place.ownUsers ? 0o700 : 0o600);
    const { message, details } = await fate('', { entryPoint: 'deep/er/main' });
    // root passes everywhere, so only a host that gives modules users of their own can tell which directory it is
    if (place.ownUsers) expect({ message, details }).toMatchObject({ details: { cause: 'unsearchable-parent' } });
    chmodSync(join(code, 'deep'), 0o755);
    if (place.ownUsers) {
      writeFileSync(join(code, 'closed'), '#!/bin/sh\n');
      chmodSync(join(code, 'closed'), 0o711);
      expect(await fate('', { entryPoint: 'closed' })).toMatchObject({ details: { cause: 'not-readable' } });
    }
  });

  test.runIf(process.getuid?.() === 0)('C139: a file system that is mounted noexec is named', async () => {
    const { code } = place.directories;
    const point = join(code, 'mount');
    mkdirSync(point);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'noexec,mode=0755', 'none', point]);
    try {
      writeFileSync(join(point, 'main'), '#!/bin/sh\n', { mode: 0o755 });
      expect(await fate('', { entryPoint: 'mount/main' })).toMatchObject({
        reason: 'START_FAILED',
        message: expect.stringContaining(point),
        details: { cause: 'noexec-mount', errno: 'EACCES' },
      });
      execFileSync('mount', ['-o', 'remount,exec', point]);
      expect(await fate('', { entryPoint: 'mount/main' })).toMatchObject({ details: { cause: 'exited' } });
    } finally {
      execFileSync('umount', [point]);
      rmSync(point, { recursive: true });
    }
  });

  test('the head of a program is read within bounds, whatever it claims', async () => {
    const file = join(place.root, 'head');
    copyFileSync(realpathSync('/usr/bin/true'), file);
    const whole = readFileSync(file);
    expect(await readProgramHead(file)).toMatchObject({ kind: 'elf', loader: expect.stringMatching(/^\//) });
    for (const [at, bytes] of [
      [32, 8],
      [54, 2],
      [56, 2],
      [64, 56],
      [4, 2],
    ] as const) {
      const broken = Buffer.from(whole.subarray(0, 4096)).fill(0xff, at, at + bytes);
      writeFileSync(file, broken);
      expect(await readProgramHead(file), `at ${at}`).toMatchObject({ kind: 'elf' });
    }
    for (const length of [0, 1, 4, 19, 20, 63]) {
      writeFileSync(file, whole.subarray(0, length));
      await readProgramHead(file);
    }
  });
});

describe('what was seen on the socket tells why a module was not Ready in time', () => {
  const late = (over: Partial<SocketFacts>) => diagnoseTimeout('m', 1_000, { ...UNSEEN, ...over }, '').details.cause;
  test('C086: from the first connection to the last Starting', () => {
    expect(late({})).toBe('never-connected');
    expect(late({ connections: 1 })).toBe('no-call');
    expect(late({ connections: 1, called: true })).toBe('no-handshake');
    const refused = new HostError('PROTOCOL_UNSUPPORTED', 'protocol 2 to 3');
    expect(late({ connections: 1, called: true, refused })).toBe('handshake-refused');
    expect(late({ connections: 1, called: true, opened: true })).toBe('not-ready');
    const busy = diagnoseTimeout('m', 1_000, { ...UNSEEN, connections: 1, opened: true, starting: 'index 40 %' }, '');
    expect(busy).toMatchObject({ reason: 'STARTUP_TIMEOUT', message: expect.stringContaining('index 40 %') });
  });

  test('a refused handshake is the reason of an exit that follows it; memory goes before all else', () => {
    const exit = { code: 1, signal: null, isCertain: true, oomKills: 0, stderrTail: '', requested: false };
    const refused = new HostError('VERSION_MISMATCH', 'the manifest says version 2.0.0');
    expect(diagnoseExit('m', exit, { ...UNSEEN, refused })).toMatchObject({
      reason: 'VERSION_MISMATCH',
      details: { cause: 'handshake-refused', code: 1 },
    });
    expect(diagnoseExit('m', exit, { ...UNSEEN, refused, ready: true })).toMatchObject({ reason: 'MODULE_CRASHED' });
    expect(diagnoseExit('m', { ...exit, oomKills: 1 }, { ...UNSEEN, refused })).toMatchObject({
      reason: 'MEMORY_LIMIT',
      details: { cause: 'out-of-memory' },
    });
    expect(diagnoseExit('m', { ...exit, code: null, signal: 'SIGXFSZ' }, UNSEEN)).toMatchObject({
      details: { cause: 'file-too-large', signal: 'SIGXFSZ' },
    });
  });
});

describe('the file system of a path', () => {
  const mountinfo = [
    '1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw',
    '2 1 0:5 / /data rw,noexec - tmpfs none rw',
    '3 2 0:6 / /data/with\\040space rw,nosuid - tmpfs none rw',
    '4 1 0:7 / /data rw,nodev - tmpfs none rw',
    'garbage',
  ].join('\n');
  test('is that of the longest mount point, the later of two', () => {
    expect(mountOf(mountinfo, '/database')?.point).toBe('/');
    expect(mountOf(mountinfo, '/data/x')).toEqual({ point: '/data', options: ['rw', 'nodev'] });
    expect(mountOf(mountinfo, '/data/with space/x')?.options).toEqual(['rw', 'nosuid']);
    expect(mountOf('', '/x')).toBeUndefined();
  });
});
