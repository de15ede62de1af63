import { mkdirSync, readdirSync, writeSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { sweepChains } from '../../src/process/leftovers.js';
import { createRunOnce } from '../../src/process/run-once.js';
import { createRunner } from '../../src/process/runner.js';
import { createBubblewrapEngine } from '../../src/sandbox/bubblewrap.js';
import { groupNameOf, openResourceGroups } from '../../src/sandbox/cgroup/open.js';
import { boundedBy } from '../../src/sandbox/containment.js';
import { inheritableDescriptors } from '../../src/sandbox/descriptors.js';
import { launchWord } from '../../src/sandbox/gate.js';
import { FIRST_MODULE_UID } from '../../src/sandbox/identity.js';
import { DEFAULT_LIMITS } from '../../src/sandbox/limits.js';
import { grantDirectories } from '../../src/sandbox/ownership.js';
import { findProgram } from '../../src/sandbox/probe.js';
import { seccompFilter } from '../../src/sandbox/seccomp/filter.js';

/**
 * A host in little for tests that kill it over and over in one directory: sweeps what the last one left, says so, and
 * starts the shell script of its second argument as a module. With `sweep` for a third it ends after the sweep.
 */
const [root = '', script = '', task] = process.argv.slice(2);
const say = (line: string): void => void writeSync(1, `${line}\n`);
const run = createRunOnce();
const logger = createSilentLogger();
const isRoot = process.getuid?.() === 0;
const number = FIRST_MODULE_UID + 91_000;
const identity = isRoot ? { uid: number, gid: number } : undefined;

const chains = sweepChains(launchWord(root));
const { groups } = await openResourceGroups({ name: groupNameOf(root), run, logger });
const members = (await groups?.sweep()) ?? 0;
say(`swept ${chains} ${members}`);
if (task === 'sweep') {
  await groups?.close();
  process.exit(0);
}

const directories = { code: join(root, 'code'), data: join(root, 'data'), socket: join(root, 'socket') };
for (const dir of Object.values(directories)) await mkdir(dir, { recursive: true, mode: 0o755 });
await writeFile(join(directories.code, 'main'), script, { mode: 0o755 });
await grantDirectories(directories, identity);
const engine = await createBubblewrapEngine({
  bwrap: findProgram('bwrap') ?? 'bwrap',
  runDir: root,
  ownUsers: isRoot,
  filter: (options) => seccompFilter(process.arch, options),
  inherited: inheritableDescriptors,
});
const runner = createRunner({ engine, interpreters: new Map(), logger, clock: createSystemClock() });
say('starting');
// Many at once, as a host does at its own start: the kill finds each of them at another step.
const starts = ['one', 'two'].map(async (name) => {
  const data = join(root, name);
  mkdirSync(data, { recursive: true, mode: 0o700 });
  await grantDirectories({ ...directories, data }, identity);
  await runner.start({
    name,
    instanceId: `${name}-${process.pid}`,
    directories: { ...directories, data },
    files: { socket: 'host.sock', token: 'token' },
    entryPoint: 'main',
    command: undefined,
    env: new Map(),
    limits: DEFAULT_LIMITS,
    identity,
    group: await groups?.create(`${name}-${process.pid}`, DEFAULT_LIMITS),
    bounded: boundedBy(groups?.powers),
    onLine: ({ text }) => say(text),
  });
});
await Promise.all(starts);
say(`started ${readdirSync('/proc/self/fd').length}`);
setInterval(() => undefined, 60_000);
