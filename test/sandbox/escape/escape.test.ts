import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { requireToolchain } from '../../toolchain.js';
import { sandboxToolchain } from '../spawn-module.js';
import { compileProbes, compilerPresence } from './compile.js';
import { C_PROBES, CONTROLS, OPENED_BY_NETWORK, PYTHON_PROBES } from './probes.js';
import type { ProbeAnswer, SuiteReport } from './suite.js';

const sandbox = await sandboxToolchain();
const skip = requireToolchain('a C compiler', compilerPresence()).skip || sandbox.skip;
const PROGRAM = join(import.meta.dirname, 'suite-program.ts');
const ROWS = [...C_PROBES, ...PYTHON_PROBES];
/** An ordinary user of no name; where the tests run as one already, it is that one. */
const ORDINARY = 4242;
/** Above what Node marks as close-on-exec by itself when it starts. */
const INHERITED_FD = 200;

/** Two users, three times all probes, each in a process of its own: half a minute, and more on a machine that is busy. */
const RUN_MS = 300_000;

const isRoot = process.getuid?.() === 0;
const ORDINARY_HOST: readonly [string, number] = ['an ordinary user', isRoot ? ORDINARY : -1];
const HOSTS: readonly (readonly [string, number])[] = isRoot ? [['root', 0], ORDINARY_HOST] : [ORDINARY_HOST];

describe.skipIf(skip)('what a module cannot do', () => {
  let root = '';
  let build = '';
  let inherited = -1;
  let server: Server;
  const secret = `secret-${randomBytes(16).toString('hex')}`;
  const running = new Set<ChildProcess>();
  const reports = new Map<number, Promise<SuiteReport>>();

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'modhost-escape-'));
    await chmod(root, 0o755);
    build = join(root, 'build');
    await mkdir(build);
    await compileProbes(build);
    await writeFile(join(root, 'inherited'), secret);
    inherited = openSync(join(root, 'inherited'), 'r');
    server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    // Both users at once: the probes of one do not meet those of the other.
    for (const [, uid] of HOSTS) reports.set(uid, runAs(uid));
    await Promise.allSettled(reports.values());
  }, RUN_MS);
  afterAll(async () => {
    for (const child of running) child.kill('SIGKILL');
    server?.close();
    if (inherited !== -1) closeSync(inherited);
    await rm(root, { recursive: true, force: true });
  });

  /** Runs the suite with a file and a listening socket that the host inherits and does not know of. */
  async function runAs(uid: number): Promise<SuiteReport> {
    const parent = join(root, `as-${uid}`);
    await mkdir(parent);
    const ids = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--'];
    if (uid > 0) await chown(parent, uid, uid);
    const node = [process.execPath, '--import', 'tsx', PROGRAM, build, parent];
    const [file = '', ...args] = uid > 0 ? ['setpriv', ...ids, ...node] : node;
    const listening = (server as unknown as { _handle: { fd: number } })._handle.fd;
    const child = spawn(file, args, {
      env: { PATH: process.env.PATH, MODHOST_TEST_SECRET: secret },
      stdio: ['ignore', 'pipe', 'pipe', ...Array<'ignore'>(INHERITED_FD - 3).fill('ignore'), inherited, listening],
    });
    running.add(child);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('latin1');
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('latin1');
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    if (code !== 0) throw new Error(`the suite ended with ${code}: ${stderr}`);
    return JSON.parse(stdout) as SuiteReport;
  }

  const reportOf = (uid: number): Promise<SuiteReport> => reports.get(uid) ?? Promise.reject(new Error('not run'));

  test('the table names every probe, each once, and there are enough of them', async () => {
    const names = [...ROWS.map(([name]) => name), ...CONTROLS];
    expect(C_PROBES.length).toBeGreaterThanOrEqual(60);
    expect(PYTHON_PROBES.length).toBeGreaterThanOrEqual(40);
    for (const [, uid] of HOSTS) {
      const { inside, insideNetwork, outside } = await reportOf(uid);
      for (const answers of [inside, insideNetwork, outside]) {
        expect(Object.keys(answers).sort()).toEqual([...names].sort());
      }
    }
  });

  describe.each(HOSTS)('with the host as %s', (_, uid) => {
    const outcomes = (answers: Readonly<Record<string, ProbeAnswer>>, names: readonly string[]): string[] =>
      names.map((name) => `${name}: ${answers[name]?.outcome}`);
    /** A refusal is an errno; a probe that breaks or crashes proves nothing. The kernel kills for a foreign entry alone. */
    const isRefusal = (name: string, outcome: string): boolean =>
      /^E[A-Z0-9]+$/.test(outcome) || (name === 'entry-32-bit' && outcome === 'SIGSYS');

    test('it is the host that it is called, and the module has a user of its own under root', async () => {
      const report = await reportOf(uid);
      expect(report.uid).toBe(uid === -1 ? process.getuid?.() : uid);
      expect(report.ownUsers).toBe(report.uid === 0);
      const held = new Map(report.containment.map(({ name, state }) => [name, state]));
      for (const name of ['filesystem', 'network', 'processes', 'privileges', 'syscalls'])
        expect(held.get(name), name).toBe('enforced');
    });

    test('C147: every probe is refused inside, and what a module needs works', async () => {
      const { inside } = await reportOf(uid);
      const notRefused = ROWS.filter(([name]) => !isRefusal(name, inside[name]?.outcome ?? ''));
      expect(
        outcomes(
          inside,
          notRefused.map(([name]) => name),
        ),
      ).toEqual([]);
      expect(outcomes(inside, CONTROLS)).toEqual(CONTROLS.map((name) => `${name}: done`));
    });

    test('with a network of its own a module has that, and nothing else', async () => {
      const { insideNetwork } = await reportOf(uid);
      const notRefused = ROWS.filter(([name]) => !isRefusal(name, insideNetwork[name]?.outcome ?? ''));
      expect(notRefused.map(([name]) => name).sort()).toEqual([...OPENED_BY_NETWORK].sort());
      expect(outcomes(insideNetwork, CONTROLS)).toEqual(CONTROLS.map((name) => `${name}: done`));
    });

    test("every probe's twin succeeds outside, or shows that its call reaches the kernel", async () => {
      const { outside } = await reportOf(uid);
      const judged = ROWS.filter(([, , { by }]) => by === 'anybody' || uid === 0);
      const failed = judged.filter(([name, , twin]) => !twin.outcomes.includes(outside[name]?.outcome ?? ''));
      expect(
        outcomes(
          outside,
          failed.map(([name]) => name),
        ),
      ).toEqual([]);
      expect(outcomes(outside, CONTROLS)).toEqual(CONTROLS.map((name) => `${name}: done`));
    });

    test('no planted secret is read inside; outside the same probes read it', async () => {
      const { inside, insideNetwork, outside } = await reportOf(uid);
      for (const answers of [inside, insideNetwork]) {
        expect(JSON.stringify(answers)).not.toContain(secret);
        for (const [name] of ROWS) expect(answers[name]?.found, name).not.toMatch(/secret-|SECRET/);
      }
      const readers = ROWS.map(([name]) => name).filter((name) =>
        /secret|environment$|environment-of|module-(?:data|token|root)|shared-memory/.test(name),
      );
      // Those that search all processes may meet the secret of another run first.
      const reads = (found = ''): boolean => found.includes(secret) || found.startsWith('MODHOST_TEST_SECRET=');
      const reading = readers.filter((name) => reads(outside[name]?.found));
      const others = ['first-process-environment', 'py-fill-shared-memory', ...(uid === 0 ? [] : ['secret-by-handle'])];
      expect(readers.filter((name) => !reading.includes(name)).sort()).toEqual(others.sort());
    });
  });
});
