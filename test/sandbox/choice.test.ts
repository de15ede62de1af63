import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSilentLogger } from '../../src/core/logger.js';
import { createRunOnce } from '../../src/process/run-once.js';
import { externalContainment, GUARANTEE_NAMES } from '../../src/sandbox/guarantee.js';
import { createIdentityBook, FIRST_MODULE_UID } from '../../src/sandbox/identity.js';
import { DEFAULT_LIMITS, effectiveLimits } from '../../src/sandbox/limits.js';
import { openSandbox } from '../../src/sandbox/open.js';
import type { RunOnce } from '../../src/sandbox/probe.js';
import { sandboxToolchain } from './spawn-module.js';

const { skip } = await sandboxToolchain();
let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'modhost-choice-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('the choice of an engine', () => {
  const refusing: RunOnce = async () => ({
    code: 1,
    stdout: '',
    stderr:
      'bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces.',
  });
  const logger = createSilentLogger();

  test('C148: what cannot be confined is not started, with what lacks and the cure', async () => {
    const refusal = openSandbox({ minimum: 'bubblewrap', runDir: dir, run: refusing, logger });
    await expect(refusal).rejects.toMatchObject({ reason: 'SANDBOX_UNAVAILABLE' });
    await expect(refusal).rejects.toThrow(/namespace|bubblewrap/);
  });

  test('C148: only the operator\'s "none" starts it unconfined, and the report says so', async () => {
    const { engine } = await openSandbox({ minimum: 'none', runDir: dir, run: refusing, logger });
    expect(engine.name).toBe('none');
    const held = engine.containment().filter(({ state }) => state === 'enforced');
    expect(held.map(({ name }) => name).filter((name) => name !== 'open_files')).toEqual([]);
  });

  test.skipIf(skip)('a sandbox that does not hold is not called one', async () => {
    const run = createRunOnce();
    // The canary answers that it could read the planted secret.
    const leaky: RunOnce = async (command) => {
      const answer = await run(command);
      return { ...answer, stdout: answer.stdout.replace('filesystem held', 'filesystem broken') };
    };
    await expect(openSandbox({ minimum: 'bubblewrap', runDir: dir, run: leaky, logger })).rejects.toMatchObject({
      reason: 'SANDBOX_UNAVAILABLE',
    });
    const { engine } = await openSandbox({ minimum: 'none', runDir: dir, run: leaky, logger });
    expect(engine.containment().find(({ name }) => name === 'filesystem')).toMatchObject({
      state: 'none',
      verified: true,
    });
  });

  test.skipIf(skip)('bubblewrap is used wherever it works, whatever the minimum', async () => {
    const { engine } = await openSandbox({ minimum: 'none', runDir: dir, run: createRunOnce(), logger });
    expect(engine.name).toBe('bubblewrap');
  });

  test('what somebody else starts is reported as by others, never as confined', () => {
    expect(externalContainment().map(({ name, state, verified }) => ({ name, state, verified }))).toEqual(
      GUARANTEE_NAMES.map((name) => ({ name, state: 'by-others', verified: false })),
    );
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
