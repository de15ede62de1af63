import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compilerPresence } from '../../sandbox/escape/compile.js';
import { requireToolchain } from '../../toolchain.js';
import { type RaceOutcome, race } from './race.js';

/** Calls of one race. */
const ROUNDS = 20_000;
/** Calls of the race of the ordinary user. */
const USER_ROUNDS = 10_000;
/** An ordinary user, who is host and module at once: nothing but the host's care keeps the module inside. */
const ORDINARY = 4_242;
/** The module's own user under a host of root. */
const MODULE = 4_243;

const { skip } = requireToolchain('a C compiler', compilerPresence());
const isRoot = process.getuid?.() === 0;
const dir = mkdtempSync(join(tmpdir(), 'mhr-'));
const swapper = join(dir, 'swapper');

beforeAll(() => {
  if (skip) return;
  const source = join(import.meta.dirname, 'swapper.c');
  const flags = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror', '-o', swapper, source];
  execFileSync('/usr/bin/gcc', flags, { stdio: 'inherit' });
  chmodSync(dir, 0o711);
  accessSync(swapper);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function judge(who: string, outcome: RaceOutcome): void {
  const { rounds, swaps, seconds, outcomes, breaches } = outcome;
  const rate = (count: number): string => `${count} (${Math.round(count / seconds)}/s)`;
  process.stdout.write(`race of ${who}: ${rate(rounds)} calls, ${rate(swaps)} swaps, ${JSON.stringify(outcomes)}\n`);
  expect(breaches).toEqual([]);
  // both sides of the race were met, often
  expect(outcomes.OK).toBeGreaterThan(rounds / 100);
  expect(outcomes.PATH_ESCAPE).toBeGreaterThan(rounds / 100);
  expect(swaps).toBeGreaterThan(rounds);
}

it.skipIf(skip)(
  `C120: ${ROUNDS} calls while their module swaps files and directories for links: nothing outside is touched`,
  async () => judge(isRoot ? 'root and a module' : 'one user', await race(swapper, ROUNDS, MODULE)),
);

it.skipIf(skip || !isRoot)(`C120: ${USER_ROUNDS} of them where host and module are one ordinary user`, () => {
  const home = mkdtempSync(join(tmpdir(), 'mhr-user-'));
  try {
    chownSync(home, ORDINARY, ORDINARY);
    const user = ['--reuid', `${ORDINARY}`, '--regid', `${ORDINARY}`, '--clear-groups', '--'];
    const program = join(import.meta.dirname, 'race-program.ts');
    const node = [process.execPath, '--import', 'tsx', program, swapper, `${USER_ROUNDS}`, `${ORDINARY}`];
    const ran = spawnSync('setpriv', [...user, ...node], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: home, TMPDIR: home },
    });
    expect([ran.status, ran.stderr]).toEqual([0, '']);
    judge(`user ${ORDINARY}`, JSON.parse(ran.stdout) as RaceOutcome);
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
});
