import { chmod, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import type { ExitReport } from '../../src/process/exit.js';
import { defaultInterpreters } from '../../src/process/interpreters.js';
import { createLayBait } from '../../src/process/lay-bait.js';
import type { OutputLine } from '../../src/process/output.js';
import { createRunOnce } from '../../src/process/run-once.js';
import { createRunner, type StartSpec } from '../../src/process/runner.js';
import type { RunningProcess } from '../../src/process/running-process.js';
import { inheritableDescriptors } from '../../src/sandbox/descriptors.js';
import type { ModuleDirectories, SandboxEngine } from '../../src/sandbox/engine.js';
import type { ResourceGroups } from '../../src/sandbox/group.js';
import { FIRST_MODULE_UID } from '../../src/sandbox/identity.js';
import { DEFAULT_LIMITS } from '../../src/sandbox/limits.js';
import { createUnconfinedEngine } from '../../src/sandbox/none.js';
import { openSandbox } from '../../src/sandbox/open.js';
import { grantDirectories } from '../../src/sandbox/ownership.js';
import { probeSandbox, type RunOnce } from '../../src/sandbox/probe.js';
import { requireToolchain } from '../toolchain.js';

/** Whether tests with the real sandbox run here. */
export async function sandboxToolchain(): Promise<{ skip: boolean }> {
  const { bubblewrap, tools } = await probeSandbox(createRunOnce());
  const lacking = [bubblewrap, tools].find((ability) => !ability.works);
  return requireToolchain(
    'bubblewrap',
    lacking === undefined || lacking.works
      ? { available: true }
      : { available: false, reason: `${lacking.reason} (${lacking.cure})` },
  );
}

/** A place in which one module can be started over and over. */
export interface Place {
  readonly engine: SandboxEngine;
  /** True when the module runs as a user of its own. */
  readonly ownUsers: boolean;
  /** Control groups, where this machine gives any. */
  readonly groups: ResourceGroups | undefined;
  readonly root: string;
  readonly directories: ModuleDirectories;
  readonly lines: OutputLine[];
  /** Starts an executable script, or a file of the module by an interpreter. */
  start(script: string, options?: Partial<StartSpec>): Promise<RunningProcess>;
  /** Starts, waits for the end, and gives what was written. */
  run(script: string, options?: Partial<StartSpec>): Promise<ExitReport & { stdout: string; stderr: string }>;
  remove(): Promise<void>;
}

/** A machine that lets nobody make namespaces. */
const withoutNamespaces =
  (run: RunOnce): RunOnce =>
  async (command) =>
    command.file.endsWith('/bwrap')
      ? { code: 1, stdout: '', stderr: 'bwrap: No permissions to create new namespace' }
      : run(command);

/**
 * Makes a place below `parent`; `unconfined` is the positive twin of every refusal, `landlock` confines as where there are
 * no namespaces.
 */
export async function createPlace(
  kind: 'confined' | 'unconfined' | 'landlock' = 'confined',
  parent = tmpdir(),
): Promise<Place> {
  const root = await realpath(await mkdtemp(join(parent, 'modhost-place-')));
  await chmod(root, 0o711);
  const sandbox =
    kind !== 'unconfined'
      ? await openSandbox({
          layBait: createLayBait(),
          runDir: root,
          run: kind === 'landlock' ? withoutNamespaces(createRunOnce()) : createRunOnce(),
          logger: createSilentLogger(),
        })
      : {
          engine: createUnconfinedEngine({ hasTools: true, ownUsers: false, inherited: inheritableDescriptors }),
          ownUsers: false,
          groups: undefined,
        };
  const { engine, ownUsers, groups } = sandbox;
  const identity = ownUsers ? { uid: FIRST_MODULE_UID + 90_000, gid: FIRST_MODULE_UID + 90_000 } : undefined;
  const directories = { code: join(root, 'code'), data: join(root, 'data'), socket: join(root, 'socket') };
  for (const dir of Object.values(directories)) await mkdir(dir, { mode: 0o755 });
  await grantDirectories(directories, identity);
  const lines: OutputLine[] = [];
  const runner = createRunner({
    engine,
    interpreters: defaultInterpreters(),
    logger: createSilentLogger(),
    clock: createSystemClock(),
  });
  const start: Place['start'] = async (script, options = {}) => {
    await writeFile(join(directories.code, 'main'), script, { mode: 0o755 });
    lines.length = 0;
    return runner.start({
      name: 'probe-module',
      instanceId: 'spawn-1',
      directories,
      files: { socket: 'module.sock', token: 'token' },
      entryPoint: 'main',
      command: undefined,
      env: new Map(),
      limits: DEFAULT_LIMITS,
      identity,
      onLine: (line) => lines.push(line),
      ...options,
    });
  };
  const textOf = (stream: string): string =>
    lines.flatMap((line) => (line.stream === stream ? [line.text] : [])).join('\n');
  return {
    engine,
    ownUsers,
    groups,
    root,
    directories,
    lines,
    start,
    async run(script, options) {
      const exit = await (await start(script, options)).exited;
      return { ...exit, stdout: textOf('stdout'), stderr: textOf('stderr') };
    },
    async remove() {
      await groups?.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
