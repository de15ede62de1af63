import { spawn } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { ARM64 } from '../../../src/sandbox/seccomp/arm64.js';
import { seccompFilter } from '../../../src/sandbox/seccomp/filter.js';
import { ABSENT, REFUSED } from '../../../src/sandbox/seccomp/refused.js';
import { NEWEST } from '../../../src/sandbox/seccomp/shared-numbers.js';
import { X64 } from '../../../src/sandbox/seccomp/x64.js';
import { sandboxToolchain } from '../spawn-module.js';

const { skip } = await sandboxToolchain();
const PYTHON = '/usr/bin/python3';
const FILTER_FD = 3;

/** How a program ended, and what it wrote. */
interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program under bubblewrap, with the filter or, as the twin, without one; as little else as can be. */
function underFilter(filter: 'none' | 'no network' | 'network', command: readonly string[]): Promise<Ending> {
  const roots = ['/bin', '/sbin', '/lib', '/lib64'].flatMap((path) => {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) return [];
    return found.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path];
  });
  const java = readdirSync('/etc').filter((name) => /^java-[0-9]+-openjdk$/.test(name));
  const etc = ['alternatives', ...java].flatMap((name) => ['--ro-bind-try', `/etc/${name}`, `/etc/${name}`]);
  const node = dirname(process.execPath);
  const args = [
    ...['--ro-bind', '/usr', '/usr', ...roots, ...etc, '--ro-bind', node, '/opt/node', '--proc', '/proc'],
    ...['--dev', '/dev', '--tmpfs', '/tmp', '--unshare-all', '--uid', '1000', '--gid', '1000', '--cap-drop', 'ALL'],
    ...['--die-with-parent', '--new-session', '--clearenv', '--setenv', 'HOME', '/tmp'],
    ...[
      '--setenv',
      'PATH',
      '/opt/node:/usr/bin:/bin:/usr/local/go/bin:/usr/lib/go/bin',
      '--setenv',
      'GOTOOLCHAIN',
      'local',
    ],
    ...(filter === 'none' ? [] : ['--seccomp', String(FILTER_FD)]),
  ];
  const child = spawn('bwrap', [...args, '--', ...command], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  const input = child.stdio[FILTER_FD] as Writable;
  input.on('error', () => undefined);
  input.end(filter === 'none' ? '' : seccompFilter(process.arch, { network: filter === 'network' }));
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('latin1');
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('latin1');
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Makes each call with six times -1, which no call takes, and prints its errno. */
const CALLS = `
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
answers = []
for number in json.loads(sys.argv[1]):
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 6)
    answers.append(ctypes.get_errno())
print(json.dumps(answers))
`;
const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

const NODE = `
const { Worker } = require('node:worker_threads');
const { execFileSync } = require('node:child_process');
new Worker('require("node:worker_threads").parentPort.postMessage(6 * 7)', { eval: true }).once('message', (answer) =>
  console.log(answer, String(execFileSync('echo', ['child'])).trim(), require('node:zlib').gzipSync('x').length > 0));
`;
const THREADS = `
import threading, subprocess, multiprocessing, sqlite3
found = []
thread = threading.Thread(target=found.append, args=(42,)); thread.start(); thread.join()
print(*found, subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout.strip(), sqlite3.connect(':memory:').execute('select 7').fetchone()[0])
`;
/** Writes what IP sockets say, then what an unmodified program does with them. */
const SOCKETS = `
import socket
def attempt(*args):
    try: socket.socket(*args).close(); return 0
    except OSError as error: return error.errno
print([attempt(socket.AF_UNIX), attempt(socket.AF_INET), attempt(socket.AF_INET6), attempt(16, socket.SOCK_RAW, 0), attempt(16, socket.SOCK_RAW, 12), attempt(38, socket.SOCK_SEQPACKET)])
`;

describe.skipIf(skip || !['x64', 'arm64'].includes(process.arch))(
  'the filter of this machine, on its own kernel',
  () => {
    const PROGRAMS: readonly (readonly [string, readonly string[], RegExp])[] = [
      ['/bin/sh', ['sh', '-c', 'echo $((6 * 7)) $(echo child) | cat'], /^42 child$/],
      [PYTHON, [PYTHON, '-c', THREADS], /^42 child 7$/],
      [process.execPath, ['node', '-e', NODE], /^42 child true$/],
      ['/usr/bin/java', ['java', '-Xshare:auto', '-version'], /version/],
      ['/usr/bin/perl', ['perl', '-e', 'print fork ? (wait, "42")[1] : exit'], /^42$/],
    ];
    const GO = ['/usr/local/go/bin/go', '/usr/bin/go'].find((path) => existsSync(path));
    const programs = [...PROGRAMS, ...(GO === undefined ? [] : ([[GO, ['go', 'version'], /^go version/]] as const))];

    test.each(programs.filter(([path]) => existsSync(path)))('%s runs under it', async (_, command, expected) => {
      for (const filter of ['no network', 'network'] as const) {
        const { code, stdout, stderr } = await underFilter(filter, command);
        expect(code, stderr).toBe(0);
        expect((stdout || stderr).trim(), filter).toMatch(expected);
      }
    });

    test('every call of the list is refused before the kernel looks at it, and not without the filter', async () => {
      const { numbers } = process.arch === 'x64' ? X64 : ARM64;
      const refused = REFUSED.flatMap((name) => numbers.get(name) ?? []);
      const absent = [...ABSENT.flatMap((name) => numbers.get(name) ?? []), 400, NEWEST + 1, 511, 1000, 0x3fffffff];
      const ask = async (filter: 'none' | 'no network' | 'network'): Promise<number[]> => {
        const answer = await underFilter(filter, [PYTHON, '-c', CALLS, JSON.stringify([...refused, ...absent])]);
        expect(answer, answer.stderr).toMatchObject({ code: 0 });
        return JSON.parse(answer.stdout) as number[];
      };
      const expected = [...refused.map(() => EPERM), ...absent.map(() => ENOSYS)];
      expect(await ask('no network')).toEqual(expected);
      expect(await ask('network')).toEqual(expected);
      // Many of them the kernel refuses to the unprivileged as well; of the others it says what is wrong with a -1.
      const bare = (await ask('none')).slice(0, refused.length);
      expect(bare.filter((errno) => errno !== EPERM && errno !== ENOSYS).length).toBeGreaterThan(20);
    });

    test('sockets are those of the grant', async () => {
      const answers = async (filter: 'none' | 'no network' | 'network'): Promise<number[]> => {
        const { stdout, stderr } = await underFilter(filter, [PYTHON, '-c', SOCKETS]);
        expect(stderr).toBe('');
        return JSON.parse(stdout) as number[];
      };
      const [unix, inet, inet6, route, firewall, crypto] = await answers('none');
      // IPv6 and kernel crypto are built into this machine's kernel, or not.
      expect({ unix, inet, route }).toEqual({ unix: 0, inet: 0, route: 0 });
      expect(await answers('no network')).toEqual([0, ...Array<number>(5).fill(EAFNOSUPPORT)]);
      expect(await answers('network')).toEqual([0, 0, inet6, 0, 93, EAFNOSUPPORT]);
      expect([firewall, crypto]).not.toContain(EPERM);
    });

    test.runIf(process.arch === 'x64')(
      'the 32-bit entry and the x32 calls of a 64-bit machine lead nowhere',
      async () => {
        // getpid by `int 0x80` from machine code in an anonymous mapping: mov $20, %eax; int $0x80; ret.
        const entry = `
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() > 0)
`;
        const x32 = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(ctypes.c_long(0x40000000 + 39))
print(ctypes.get_errno())
`;
        const killed = await underFilter('no network', [PYTHON, '-c', entry]);
        // SIGSYS, as bubblewrap tells it.
        expect(killed).toMatchObject({ code: 128 + 31, stdout: '' });
        expect((await underFilter('no network', [PYTHON, '-c', x32])).stdout.trim()).toBe(String(ENOSYS));
        const bare = await underFilter('none', [PYTHON, '-c', entry]);
        // Without the filter it works, or the kernel was built without it (SIGSEGV).
        expect(bare.stdout.trim() === 'True' || bare.code === 128 + 11).toBe(true);
      },
    );
  },
);
