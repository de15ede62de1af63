import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { delay } from '../../src/core/delay.js';
import { groupNameOf } from '../../src/sandbox/cgroup/open.js';
import { launchWord } from '../../src/sandbox/gate.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { processesWith } from './processes-with.js';

const { skip } = await sandboxToolchain();
const isRoot = process.getuid?.() === 0;

/** Kills in all (another number for a long or a short run), and how many of them hit the whole host with all its rooms; the others a host in little, which is quick. */
const KILLS = Number(process.env.MODHOST_TEST_KILLS ?? 200);
const FULL_KILLS = Math.max(2, Math.round(KILLS / 20));
/** Host's death to the last process gone: the promise of the founding document's containment. */
const GONE_WITHIN_MS = 2_000;
/** An ordinary user for a share of the rounds; nothing on a machine is expected to have it. */
const USER = 4242;
/** Share of kills that aim at the start of modules, and how long after its begin they come, milliseconds. */
const START_SHARE = 0.65;
const START_MS = 160;
/** The others come after the first word of a module, milliseconds; without such a word they come all the same. */
const RUNNING_MS = 250;
const WORD_TIMEOUT_MS = 5_000;
/** Where the whole host is killed from its first moment on, milliseconds: its canary runs then. */
const BOOT_MS = 1_500;
/** A host that does not even begin has failed, milliseconds. */
const BEGIN_TIMEOUT_MS = 60_000;

const seed = Number(process.env.MODHOST_TEST_SEED ?? randomBytes(4).readUInt32LE());
process.stdout.write(`host-killed: seed ${seed}\n`);

/** Numbers in [0, 1) that a printed seed gives again (mulberry32, public domain). */
function createRandom(from: number): () => number {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * A module with all that clings to life: a child, one in its own session, a daemon by double fork without any descriptor,
 * each deaf to SIGTERM, under a name that nobody else has.
 */
function clinging(word: string): string {
  return `#!/bin/sh
trap '' TERM HUP INT
ln -s /usr/bin/sleep "$DATA_DIR/${word}" 2>/dev/null
S="$DATA_DIR/${word}"
"$S" 9999 &
setsid "$S" 9998 &
(setsid sh -c "exec $S 9997 <&- >&- 2>&-" &) &
echo nested
exec "$S" 9996
`;
}

/** One directory in which one host after the other starts and is killed. */
interface Lane {
  readonly root: string;
  readonly word: string;
  readonly uid: number | undefined;
  readonly random: () => number;
}

/** What became of the rounds of a lane. */
interface Tally {
  rounds: number;
  /** Kills before the first module ran, and after. */
  before: number;
  after: number;
  /** Processes that the next host had to sweep. */
  swept: number;
  /** What was still there when it must not be. */
  readonly survivors: string[];
}

describe.skipIf(skip)('C154: a host killed by SIGKILL at any moment', () => {
  const parent = mkdtempSync(join(tmpdir(), 'mh-killed-'));
  const program = join(parent, 'host.mjs');
  const tally: Tally = { rounds: 0, before: 0, after: 0, swept: 0, survivors: [] };
  const hosts = new Set<ChildProcess>();

  beforeAll(async () => {
    chmodSync(parent, 0o711);
    // One file starts in a fraction of the time that a loader of TypeScript takes: the rounds are many.
    const entry = new URL('./killed-host-program.ts', import.meta.url).pathname;
    await build({
      entryPoints: [entry],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
    });
    chmodSync(program, 0o644);
  });
  afterAll(() => {
    for (const host of hosts) host.kill('SIGKILL');
    rmSync(parent, { recursive: true, force: true });
  });

  const createLane = (uid: number | undefined, salt: number): Lane => {
    const root = mkdtempSync(join(parent, 'lane-'));
    chmodSync(root, 0o711);
    if (uid !== undefined) chownSync(root, uid, uid);
    return { root, word: `cling-${randomBytes(8).toString('hex')}`, uid, random: createRandom(seed + salt) };
  };

  /** Starts a host in the lane's directory; what it prints is collected line by line. */
  const startHost = (lane: Lane, command: readonly string[]): { child: ChildProcess; printed: () => string } => {
    const { uid } = lane;
    const user = uid === undefined ? [] : ['setpriv', '--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups', '--'];
    const [file = '', ...args] = [...user, process.execPath, ...command];
    let text = '';
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, HOME: parent },
    });
    hosts.add(child);
    child.once('exit', () => hosts.delete(child));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    }
    return { child, printed: () => text };
  };

  const printedLine = async (host: ReturnType<typeof startHost>, line: string): Promise<void> => {
    for (let waited = 0; !host.printed().includes(line); waited += 2) {
      if (host.child.exitCode !== null || waited > BEGIN_TIMEOUT_MS) throw new Error(`no ${line}: ${host.printed()}`);
      await delay(2);
    }
  };

  /** Lets the host go on to a random moment. */
  const untilSomeMoment = async (lane: Lane, host: ReturnType<typeof startHost>): Promise<void> => {
    if (lane.random() < START_SHARE) return delay(lane.random() * START_MS);
    for (let waited = 0; !host.printed().includes('nested') && waited < WORD_TIMEOUT_MS; waited += 5) await delay(5);
    await delay(lane.random() * RUNNING_MS);
  };

  /** Kills the host and looks until nothing is left, or the time is up. */
  const killAndLook = async (lane: Lane, host: ReturnType<typeof startHost>): Promise<void> => {
    const { child } = host;
    if (child.exitCode !== null) throw new Error(`the host ended by itself: ${host.printed()}`);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    const words = [lane.word, launchWord(lane.root), ...socketWord(lane)];
    child.kill('SIGKILL');
    const end = performance.now() + GONE_WITHIN_MS;
    await gone;
    tally.rounds += 1;
    if (host.printed().includes('nested')) tally.after += 1;
    else tally.before += 1;
    let left: string[] = [];
    do {
      await delay(40);
      left = processesWith(words, child.pid);
    } while (left.length > 0 && performance.now() < end);
    tally.survivors.push(...left.map((line) => `round ${tally.rounds}: ${line}`));
  };

  /** One host in little after the other, each killed at its own moment. */
  const runLane = async (lane: Lane, kills: number): Promise<void> => {
    for (let round = 0; round < kills; round += 1) {
      const host = startHost(lane, [program, lane.root, clinging(lane.word)]);
      await printedLine(host, 'starting');
      tally.swept += sweptOf(host.printed());
      await untilSomeMoment(lane, host);
      await killAndLook(lane, host);
    }
    const last = startHost(lane, [program, lane.root, '', 'sweep']);
    await new Promise((resolve) => last.child.once('close', resolve));
    tally.swept += sweptOf(last.printed());
    expect(last.child.exitCode, last.printed()).toBe(0);
    expect(groupsOf(lane.root)).toEqual([]);
  };

  /** The whole host; some of the kills come while it starts itself. */
  const runFullLane = async (lane: Lane, kills: number): Promise<void> => {
    const entry = new URL('./killed-full-host.ts', import.meta.url).pathname;
    const names = ['cling-one', 'cling-two'];
    for (const name of names) {
      const dir = join(lane.root, 'm', name);
      mkdirSync(dir, { recursive: true, mode: 0o755 });
      // One of them with a network of its own, which the host's program in it must not outlive either.
      const network = name === 'cling-two' ? '[network]\noutbound_any = true\n' : '';
      writeFileSync(join(dir, 'module.toml'), `name = "${name}"\nversion = "1.0.0"\n${network}`);
      writeFileSync(join(dir, name), clinging(lane.word), { mode: 0o755 });
    }
    for (let round = 0; round < kills; round += 1) {
      const host = startHost(lane, ['--import', 'tsx', entry, lane.root, ...names]);
      const isBoot = lane.random() < 0.3;
      await printedLine(host, isBoot ? 'booting' : 'starting');
      await (isBoot ? delay(lane.random() * BOOT_MS) : untilSomeMoment(lane, host));
      await killAndLook(lane, host);
    }
    const last = startHost(lane, ['--import', 'tsx', entry, lane.root, 'sweep']);
    await new Promise((resolve) => last.child.once('close', resolve));
    expect(last.child.exitCode, last.printed()).toBe(0);
    expect(last.printed()).toContain('left 0');
    expect(readdirSync(join(lane.root, 's'))).toEqual([]);
    expect(groupsOf(join(lane.root, 's'))).toEqual([]);
  };

  test(`leaves no process of a module after ${GONE_WITHIN_MS} ms, in ${KILLS} kills, and the next one sweeps the rest`, async () => {
    const users = isRoot ? [undefined, USER] : [undefined];
    const little = Math.ceil((KILLS - FULL_KILLS) / 4);
    const lanes = Array.from({ length: 4 }, (_, i) => runLane(createLane(users[i % users.length], i), little));
    await Promise.all(lanes);
    await Promise.all([0, 1].map((i) => runFullLane(createLane(users[i % users.length], 10 + i), FULL_KILLS / 2)));
    process.stdout.write(`host-killed: ${JSON.stringify({ ...tally, survivors: tally.survivors.length })}\n`);
    expect(tally.survivors).toEqual([]);
    expect(tally.rounds).toBeGreaterThanOrEqual(KILLS);
    // The kills did hit what they aimed at: starts, and modules that ran.
    expect(tally.before).toBeGreaterThan(KILLS / 20);
    expect(tally.after).toBeGreaterThan(KILLS / 20);
  }, 400_000);

  test('the search finds what runs: the control of the test above', async () => {
    const lane = createLane(isRoot ? USER : undefined, 20);
    const host = startHost(lane, [program, lane.root, clinging(lane.word)]);
    await printedLine(host, 'started');
    await expect.poll(() => processesWith([lane.word], host.child.pid).length).toBeGreaterThanOrEqual(8);
    expect(processesWith([launchWord(lane.root)], host.child.pid).length).toBeGreaterThanOrEqual(4);
    await killAndLook(lane, host);
    expect(processesWith([lane.word], undefined)).toEqual([]);
  });

  /** The full host's sandbox is opened on its socket directory, which exists once it has started. */
  function socketWord({ root }: Lane): string[] {
    try {
      return [launchWord(join(root, 's'))];
    } catch {
      return [];
    }
  }

  function sweptOf(text: string): number {
    const [, chains = '0', members = '0'] = /^swept (\d+) (\d+)/m.exec(text) ?? [];
    return Number(chains) + Number(members);
  }

  function groupsOf(dir: string): string[] {
    return findBelow('/sys/fs/cgroup', `modhost-${groupNameOf(dir)}`);
  }
});

/** Directories of that name. Others come and go meanwhile: groups of other tests. */
function findBelow(dir: string, name: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap((entry) => {
        const path = join(dir, entry.name);
        return entry.name === name ? [path] : findBelow(path, name);
      });
  } catch {
    return [];
  }
}
