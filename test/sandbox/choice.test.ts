import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostError } from '../../src/contract/error.js';
import {
  GUARANTEE_NAMES,
  type GuaranteeName,
  parseSandboxMinimum,
  parseSandboxMinimumText,
  type SandboxMinimum,
} from '../../src/contract/guarantee.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { createLayBait } from '../../src/process/lay-bait.js';
import { createRunOnce } from '../../src/process/run-once.js';
import { tryContainment } from '../../src/sandbox/canary.js';
import { externalContainment, type Guarantee, type GuaranteeState } from '../../src/sandbox/guarantee.js';
import { createIdentityBook, FIRST_MODULE_UID } from '../../src/sandbox/identity.js';
import { DEFAULT_LIMITS, effectiveLimits } from '../../src/sandbox/limits.js';
import { assertMinimum, missingGuarantees, wordsMet } from '../../src/sandbox/minimum.js';
import { createUnconfinedEngine } from '../../src/sandbox/none.js';
import { openSandbox, type SandboxOptions } from '../../src/sandbox/open.js';
import { probeSandbox, type RunOnce } from '../../src/sandbox/probe.js';
import { sandboxToolchain } from './spawn-module.js';

const { skip } = await sandboxToolchain();
let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'modhost-choice-'));
  // as a host's socket directory: users of modules pass through it
  await chmod(dir, 0o711);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const stateOf = (containment: readonly Guarantee[], name: string) => containment.find((each) => each.name === name);

/** A machine without the programs of these names. */
const without =
  (...names: string[]): RunOnce =>
  async (command) =>
    names.some((name) => command.file.endsWith(`/${name}`))
      ? { code: 1, stdout: '', stderr: `${command.file}: No permissions to create new namespace` }
      : run(command);
const run = createRunOnce();
const open = (more: Partial<SandboxOptions> = {}) =>
  openSandbox({ runDir: dir, run, layBait: createLayBait(), logger: createSilentLogger(), ...more });

describe('the choice of an engine', () => {
  test.skipIf(skip)('bubblewrap where it works, and every claim of it has been tried', async () => {
    const sandbox = await open();
    const containment = sandbox.engine.containment();
    expect(sandbox.engine.name).toBe('bubblewrap');
    const untried = containment.filter(({ state, verified }) => state === 'enforced' && !verified);
    expect(untried).toEqual([]);
    expect(missingGuarantees('confined', containment)).toEqual([]);
    await sandbox.groups?.close();
  });

  test.skipIf(skip)('without control groups memory and processor are watched, and it meets the default', async () => {
    const { engine, groups } = await open({ controlGroups: false });
    expect(groups).toBeUndefined();
    expect(stateOf(engine.containment(), 'memory')).toMatchObject({ state: 'watched', verified: false });
    expect(stateOf(engine.containment(), 'cpu')).toMatchObject({ state: 'watched', verified: false });
    expect(stateOf(engine.containment(), 'pids')).toMatchObject({ state: 'enforced', verified: true });
    expect(wordsMet(engine.containment())).toEqual(['confined', 'limited', 'none']);
  });

  test.skipIf(skip)('hosts that open at the same time do not spoil the trial of one another', async () => {
    // one after the other, so that a trial begins while the one before it has all the processes that it may have
    const opening = [];
    for (let n = 0; n < 8; n += 1) {
      opening.push(open({ controlGroups: false }));
      await delay(100);
    }
    const opened = await Promise.all(opening);
    for (const { engine } of opened) {
      expect(stateOf(engine.containment(), 'pids')).toMatchObject({ state: 'enforced', verified: true });
    }
  });

  test.skipIf(skip)('Landlock where there are no namespaces, and it tells what that costs', async () => {
    const { engine, cures } = await open({ run: without('bwrap'), controlGroups: false });
    expect(engine.name).toBe('landlock');
    for (const name of ['filesystem', 'processes', 'privileges', 'syscalls', 'open_files']) {
      expect(stateOf(engine.containment(), name), name).toMatchObject({ state: 'enforced', verified: true });
    }
    expect(stateOf(engine.containment(), 'lifetime')).toMatchObject({ state: 'none' });
    expect(wordsMet(engine.containment())).toEqual(['limited', 'none']);
    expect(cures.get('lifetime')).toBeDefined();
    expect(cures.get('filesystem')).toBeUndefined();
  });

  test('C148: nothing where nothing works, and the report says so', async () => {
    const { engine } = await open({ run: without('bwrap', 'python3'), controlGroups: false });
    expect(engine.name).toBe('none');
    const held = engine.containment().filter(({ state }) => state === 'enforced');
    expect(held.map(({ name }) => name).filter((name) => !['open_files', 'user', 'pids'].includes(name))).toEqual([]);
    expect(wordsMet(engine.containment())).toEqual(['none']);
  });

  test.skipIf(skip)('a promise that does not hold is called none, with what a module could do', async () => {
    // the canary answers that it could read the planted secret
    const leaky: RunOnce = async (command) => {
      const answer = await run(command);
      return { ...answer, stdout: answer.stdout.replace('planted secret\theld', 'planted secret\tbroken') };
    };
    const { engine } = await open({ run: leaky, controlGroups: false });
    const filesystem = stateOf(engine.containment(), 'filesystem');
    expect(filesystem).toMatchObject({ state: 'none', verified: false });
    expect(filesystem?.by).toContain('read a planted secret');
    expect(() => assertMinimum('m', 'limited', engine.containment(), new Map())).toThrow(HostError);
  });

  test.skipIf(skip)('the canary finds out on every count a sandbox that is none', async () => {
    const { ownUsers } = await probeSandbox(run);
    const user = (uid: number) => (ownUsers.works ? { uid, gid: uid } : undefined);
    const engine = createUnconfinedEngine({ hasTools: true, ownUsers: ownUsers.works, inherited: () => [] });
    const answer = await tryContainment({
      engine,
      run,
      layBait: createLayBait(),
      runDir: dir,
      identity: user(FIRST_MODULE_UID + 91_000),
      neighbour: undefined,
      hog: user(FIRST_MODULE_UID + 91_001),
      groups: undefined,
      node: process.execPath,
      openSockets: [],
      claimed: new Set(GUARANTEE_NAMES),
    });
    const trials = 'trials' in answer ? answer.trials : new Map();
    const broken = [...trials].flatMap(([name, acts]) => (acts.length > 0 ? [name] : []));
    expect(broken.sort()).toEqual(
      expect.arrayContaining(['filesystem', 'lifetime', 'network', 'privileges', 'processes', 'syscalls']),
    );
    expect(trials.get('network')).toEqual(expect.arrayContaining(['send to the host by UDP']));
  });

  test('what somebody else starts is reported as by others, never as confined', () => {
    expect(externalContainment().map(({ name, state, verified }) => ({ name, state, verified }))).toEqual(
      GUARANTEE_NAMES.map((name) => ({ name, state: 'by-others', verified: false })),
    );
    expect(missingGuarantees('full', externalContainment())).toEqual([]);
  });
});

describe('the least containment', () => {
  const vector = (states: Partial<Record<GuaranteeName, GuaranteeState>>): Guarantee[] =>
    GUARANTEE_NAMES.map((name) => ({ name, state: states[name] ?? 'enforced', by: `of ${name}`, verified: true }));

  test('words ask for what they say', () => {
    const namesOf = (minimum: SandboxMinimum, states: Partial<Record<GuaranteeName, GuaranteeState>>) =>
      missingGuarantees(minimum, vector(states)).map(({ name }) => name);
    const nothing = Object.fromEntries(GUARANTEE_NAMES.map((name) => [name, 'none' as const]));
    const watched = Object.fromEntries(GUARANTEE_NAMES.map((name) => [name, 'watched' as const]));
    expect(namesOf('full', nothing)).toEqual([...GUARANTEE_NAMES]);
    expect(namesOf('full', watched)).toEqual(GUARANTEE_NAMES.filter((name) => name !== 'disk'));
    expect(namesOf('confined', nothing)).toEqual(GUARANTEE_NAMES.filter((name) => name !== 'user'));
    expect(namesOf('confined', { memory: 'watched', cpu: 'watched', pids: 'watched', disk: 'watched' })).toEqual([]);
    expect(namesOf('limited', { user: 'none', network: 'none', processes: 'none', lifetime: 'none' })).toEqual([]);
    expect(namesOf('none', nothing)).toEqual([]);
    expect(namesOf(['memory', 'cpu:watched', 'pids'], { memory: 'watched', cpu: 'watched' })).toEqual(['memory']);
  });

  test('C148: a module below it is refused with the names, the causes and the cures', () => {
    const refusal = () =>
      assertMinimum('m', 'confined', vector({ network: 'none', memory: 'none' }), new Map([['memory', 'plug it in']]));
    expect(refusal).toThrow(
      expect.objectContaining({ reason: 'SANDBOX_UNAVAILABLE', details: { module: 'm', missing: 'network, memory' } }),
    );
    expect(refusal).toThrow(/network, memory missing; network: of network; memory: of memory; cure: plug it in/);
  });

  test('C148: what is no minimum is refused with the nearest that is one', () => {
    expect(parseSandboxMinimum('confined')).toBe('confined');
    expect(parseSandboxMinimum(['memory', 'cpu:watched', 'pids:enforced'])).toEqual(['memory', 'cpu:watched', 'pids']);
    expect(parseSandboxMinimumText('none')).toBe('none');
    expect(parseSandboxMinimumText('memory, cpu:watched')).toEqual(['memory', 'cpu:watched']);
    expect(parseSandboxMinimumText('network')).toEqual(['network']);
    const wrong: readonly (readonly [unknown, string])[] = [
      ['bubblewrap', "'confined'"],
      ['confine', "'confined'"],
      ['required', 'a list'],
      [1, 'a list'],
      [[], "'none'"],
      [['memroy'], "'memory'"],
      [['memory:wached'], 'memory:watched'],
      [['memory:watched:twice'], 'memory:watched'],
      [['memory', 'memory:watched'], 'twice'],
      [[1], 'filesystem'],
      [['__proto__'], 'filesystem'],
    ];
    for (const [value, hint] of wrong) {
      expect(parseSandboxMinimum(value), String(value)).toMatchObject({ refused: expect.stringContaining(hint) });
    }
  });
});

describe('users of modules', () => {
  test('each name keeps its number, two names never share one, also when asked at once', async () => {
    const path = join(dir, 'users.json');
    const book = createIdentityBook(path);
    const first = await Promise.all(['a', 'b', 'constructor', 'a'].map((name) => book.identityOf(name)));
    expect(first.map(({ uid }) => uid - FIRST_MODULE_UID)).toEqual([0, 1, 2, 0]);
    expect(await createIdentityBook(path).identityOf('b')).toEqual(first[1]);
    expect((await createIdentityBook(path).identityOf('c')).uid).toBe(FIRST_MODULE_UID + 3);
  });

  test('a book that cannot be trusted gives no numbers and is left as it is', async () => {
    const path = join(dir, 'users.json');
    for (const text of ['{', '[]', 'null', '{"a":0}', '{"a":"x"}', '{"a":2000000000,"b":2000000000}', '{"a":1.5}']) {
      await writeFile(path, text);
      await expect(createIdentityBook(path).identityOf('z'), text).rejects.toMatchObject({ reason: 'DATA_CORRUPT' });
      expect(await readFile(path, 'utf8')).toBe(text);
    }
  });
});

test('limits: the manifest asks, caps bound it, the word for one module stands over both', () => {
  expect(effectiveLimits({})).toEqual(DEFAULT_LIMITS);
  expect(effectiveLimits({ memoryMb: 4096, pids: 4 }, { memoryMb: 1024, pids: 64 })).toMatchObject({
    memoryMb: 1024,
    pids: 4,
  });
  expect(effectiveLimits({}, { openFiles: 64 })).toMatchObject({ openFiles: 64 });
  expect(effectiveLimits({ pids: 8 }, { pids: 4 }, { pids: 500 })).toMatchObject({ pids: 500 });
  expect(effectiveLimits({ cpuPercent: undefined })).toMatchObject({ cpuPercent: 50 });
});
