import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { delay } from '../../src/core/delay.js';
import { sandboxToolchain } from '../sandbox/spawn-module.js';
import { createAsker, createPlace, type Ended, type Place } from './command-line.js';

const { skip } = await sandboxToolchain();
const isRoot = process.getuid?.() === 0;
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
/**
 * The program with its packages, where every user of the machine can read it: these tests start it in many ways, and the
 * loader of sources takes seconds each time.
 */
const BUNDLE = mkdtempSync(join(tmpdir(), 'mhd-'));
/** The same without its packages, for `run`: the log's package looks for its own files. */
const HOST_BUNDLE = join(ROOT, '.cache', `doctor-test-${process.pid}`);
const ORDINARY_UID = 4242;
/** How often output is looked at, milliseconds. */
const LOOK_EVERY_MS = 25;

/** Ways to run a command line on this machine, each of which meets another machine. */
const AS_ORDINARY_USER = [
  'setpriv',
  '--reuid',
  `${ORDINARY_UID}`,
  '--regid',
  `${ORDINARY_UID}`,
  '--clear-groups',
  '--',
];
const WITHOUT_NAMESPACES = ['bwrap', '--dev-bind', '/', '/', '--unshare-user', '--disable-userns', '--'];
/**
 * As root of a container: all users are mapped, and no further namespace is to be had. The test writes the mapping, which
 * only a process outside may.
 */
const AS_ROOT_OF_A_CONTAINER = [
  ...['unshare', '--user', '--', 'sh', '-c'],
  'echo "$$"; read -r mapped; exec sh -c "echo 0 > /proc/sys/user/max_user_namespaces; exec \\"\\$@\\"" container "$@"',
  'container',
];

interface Report {
  minimum: string;
  met: boolean;
  missing: { name: string; wanted: string; state: string; by: string }[];
  meets: string[];
  engine: string;
  containment: { name: string; state: string; by: string; verified: boolean }[];
  facts: { topic: string; state: string; text: string }[];
  cures: { guarantees: string[]; cause: string; steps: string[] }[];
}

let place: Place;
let ask: ReturnType<typeof createAsker>;
const running = new Set<ChildProcess>();
beforeAll(async () => {
  const shared = {
    ...{ entryPoints: [join(ROOT, 'src/cli/main.ts')], bundle: true, splitting: true, logLevel: 'error' as const },
    ...{ format: 'esm' as const, platform: 'node' as const },
  };
  await build({
    ...shared,
    outdir: join(BUNDLE, 'bin'),
    external: ['zeromq', 'ws'],
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  await build({ ...shared, outdir: HOST_BUNDLE, packages: 'external' });
  for (const path of ['package.json', 'gen/modhost.binpb']) cpSync(join(ROOT, path), join(BUNDLE, path));
  chmodSync(BUNDLE, 0o755);
});
beforeEach(() => {
  place = createPlace();
  ask = createAsker(place);
  mkdirSync(join(place.dir, 'home'), { recursive: true });
  chmodSync(place.dir, 0o755);
  if (isRoot) chownSync(join(place.dir, 'home'), ORDINARY_UID, ORDINARY_UID);
});
afterEach(() => place.dispose());
afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
  for (const dir of [BUNDLE, HOST_BUNDLE]) rmSync(dir, { recursive: true, force: true });
});

interface RunningProgram {
  child: ChildProcess;
  ended: Promise<Ended>;
  /** Waits until standard output holds a text. */
  until(text: string): Promise<void>;
}

/** Starts a command line of the program in one of those ways. */
function start(prefix: readonly string[], words: readonly string[]): RunningProgram {
  const program = words[0] === 'run' ? join(HOST_BUNDLE, 'main.js') : join(BUNDLE, 'bin', 'main.js');
  const [file = '', ...args] = [...prefix, process.execPath, program, ...words];
  const child = spawn(file, args, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOME: join(place.dir, 'home') },
    stdio: [prefix === AS_ROOT_OF_A_CONTAINER ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    out += chunk.toString();
    const pid = /^([0-9]+)\n/.exec(out)?.[1];
    if (prefix !== AS_ROOT_OF_A_CONTAINER || pid === undefined) return;
    out = out.slice(pid.length + 1);
    for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${pid}/${map}`, '0 0 4294967294\n');
    child.stdin?.end('mapped\n');
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve({ code, signal, out, err });
    });
  });
  const until = async (text: string): Promise<void> => {
    while (!out.includes(text)) {
      if (!running.has(child)) throw new Error(`${text} never came: ${out} ${err}`);
      await delay(LOOK_EVERY_MS);
    }
  };
  return { child, ended, until };
}

async function examine(
  prefix: readonly string[],
  ...words: string[]
): Promise<{ code: number | null; report: Report }> {
  const { code, out, err } = await start(prefix, ['doctor', '--json', ...words]).ended;
  expect(err).toBe('');
  return { code, report: JSON.parse(out) as Report };
}

const namesIn = (report: Report, state: string): string[] =>
  report.containment.filter((promise) => promise.state === state).map(({ name }) => name);
const untried = (report: Report): string[] =>
  report.containment.filter(({ state, verified }) => state === 'enforced' && !verified).map(({ name }) => name);
const stateOf = (report: Report, name: string) => report.containment.find((promise) => promise.name === name);

const config = (): string[] => ['--config', join(place.dir, 'modhost.toml')];

describe.skipIf(skip)('modhost doctor', () => {
  it.skipIf(!isRoot)('as root: each module has a user of its own, everything claimed was tried', async () => {
    const { code, report } = await examine([]);
    expect(code).toBe(0);
    expect(report).toMatchObject({ engine: 'bubblewrap', minimum: 'confined', met: true, missing: [] });
    expect(stateOf(report, 'user')).toMatchObject({ state: 'enforced', verified: true });
    expect(untried(report)).toEqual([]);
    // what the kernel bounds, and no more than that, decides about the strictest word
    const weak = [...namesIn(report, 'watched'), ...namesIn(report, 'none')].filter((name) => name !== 'disk');
    expect(report.meets.includes('full')).toBe(weak.length === 0);
  });

  it.skipIf(!isRoot)('as an ordinary user: one user for all, and the strictest word is refused by name', async () => {
    const { code, report } = await examine(AS_ORDINARY_USER, '--sandbox-minimum', 'full');
    expect(code).toBe(4);
    expect(report).toMatchObject({ engine: 'bubblewrap', minimum: 'full', met: false });
    expect(report.meets).toEqual(['confined', 'limited', 'none']);
    expect(report.missing.map(({ name }) => name)).toContain('user');
    expect(report.cures.find(({ guarantees }) => guarantees.includes('user'))?.steps.join()).toMatch(/root/);
    expect(untried(report)).toEqual([]);
  });

  it.each([
    ['the ordinary user', [...AS_ORDINARY_USER, ...WITHOUT_NAMESPACES]],
    ['root', WITHOUT_NAMESPACES],
  ])('where user namespaces are refused, %s: Landlock, and what it lacks by name', async (_who, prefix) => {
    if (!isRoot && prefix !== WITHOUT_NAMESPACES) return;
    const { code, report } = await examine(prefix);
    expect(code).toBe(4);
    expect(report).toMatchObject({ engine: 'landlock', minimum: 'confined', met: false, meets: ['limited', 'none'] });
    expect(report.missing.map(({ name }) => name)).toEqual(expect.arrayContaining(['network', 'lifetime']));
    for (const name of ['filesystem', 'processes', 'privileges', 'syscalls', 'open_files']) {
      expect(stateOf(report, name), name).toMatchObject({ state: 'enforced', verified: true });
    }
    expect(stateOf(report, 'user')).toMatchObject({ state: 'none' });
    expect(report.facts.find(({ topic }) => topic === 'namespaces')?.state).toBe('lacking');
    expect(report.cures[0]?.steps.length).toBeGreaterThan(0);
  });

  it.skipIf(!isRoot)('as root of a container: users of modules, and their sockets hold', async () => {
    const { report } = await examine(AS_ROOT_OF_A_CONTAINER);
    expect(report.engine).toBe('landlock');
    expect(stateOf(report, 'user')).toMatchObject({ state: 'enforced', verified: true });
    const network = stateOf(report, 'network');
    // a socket of this machine that everybody may connect to is found, and then it is told
    if (network?.state === 'none') expect(network.by).toMatch(/did not hold, a module could connect to \//);
    else expect(network).toMatchObject({ state: 'enforced', verified: true });
    expect(report.missing.map(({ name }) => name)).toContain('lifetime');
  });

  it('prints for people what it prints for programs, and refuses what is no minimum', async () => {
    const { code, out } = await start(WITHOUT_NAMESPACES, ['doctor', '--sandbox-minimum', 'limited']).ended;
    expect(code).toBe(0);
    expect(out).toMatch(/^filesystem enforced +Landlock [0-9]+, tried here$/m);
    expect(out).toMatch(/^meets +limited, none$/m);
    expect(out).toMatch(/^minimum +limited: met$/m);
    const wrong = await ask('doctor', '--sandbox-minimum', 'bubblewrap');
    expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("did you mean 'confined'") });
  });
});

const MODULE = 'name = "quiet"\nversion = "1.0.0"\n[run]\ncommand = ["python", "main.py"]\n';
/** Says what it can do under the host's confinement, and stays. */
const PROGRAM = `import os, socket, time
def tried(act):
    try:
        act()
        return 'could'
    except OSError:
        return 'could not'
print('secret', tried(lambda: open('/etc/passwd').read()), flush=True)
print('tcp', tried(lambda: socket.create_connection(('127.0.0.1', 9), 1)), flush=True)
print('data', tried(lambda: open(os.environ['MODHOST_DATA_DIR'] + '/x', 'w').write('x')), flush=True)
time.sleep(60)
`;

describe.skipIf(skip)('a host where user namespaces are refused', () => {
  const run = async (...words: string[]): Promise<RunningProgram & { status(): Promise<Status> }> => {
    place.write(
      'modhost.toml',
      '[paths]\nmodules = "m"\ndata = "d"\nsockets = "s"\n[modules.quiet]\nunsigned = true\n[modules.other]\nunsigned = true\nrun = "external"\n',
    );
    place.write('m/quiet/module.toml', MODULE);
    place.write('m/quiet/main.py', PROGRAM);
    place.write('m/other/module.toml', 'name = "other"\nversion = "1.0.0"\n');
    const host = start(WITHOUT_NAMESPACES, [
      'run',
      '--config',
      join(place.dir, 'modhost.toml'),
      '--log-format',
      'json',
      ...words,
    ]);
    return { ...host, status: async () => JSON.parse((await ask('status', '--json', ...config())).out) as Status };
  };
  interface Status {
    host: { warnings: { code: string; message: string }[] };
    modules: {
      name: string;
      state: string;
      containment: { name: string; state: string }[];
      last_error?: { reason: string; message: string };
    }[];
  }

  it('C148: starts no module below the minimum, and tells which guarantees are missing', async () => {
    const { ended, status, until } = await run();
    await until('SANDBOX_UNAVAILABLE');
    const { host, modules } = await status();
    const quiet = modules.find(({ name }) => name === 'quiet');
    expect(quiet?.last_error?.reason).toBe('SANDBOX_UNAVAILABLE');
    expect(quiet?.last_error?.message).toMatch(/network.*lifetime/);
    expect(host.warnings.map(({ code }) => code)).toContain('sandbox_below_minimum');
    if (isRoot) expect(host.warnings.map(({ code }) => code)).toContain('running_as_root');
    // what somebody else starts is somebody else's to confine
    const other = modules.find(({ name }) => name === 'other');
    expect(new Set(other?.containment.map(({ state }) => state))).toEqual(new Set(['BY_OTHERS']));
    // a signal would end bubblewrap around the host, and not the host
    await ask('stop', ...config());
    expect((await ended).code).toBe(0);
  });

  it('C148: starts it where the operator accepts what there is, confined as far as was said', async () => {
    const { ended, status, until } = await run('--sandbox-minimum', 'limited');
    await until('data could');
    const { host, modules } = await status();
    expect(host.warnings.map(({ code }) => code)).toContain('sandbox_weak');
    const quiet = modules.find(({ name }) => name === 'quiet');
    expect(quiet?.state).toBe('STARTING');
    expect(quiet?.containment.find(({ name }) => name === 'filesystem')?.state).toBe('ENFORCED');
    const { out } = await ask('logs', 'quiet', ...config());
    expect(out).toContain('secret could not');
    expect(out).toContain('tcp could not');
    await ask('stop', ...config());
    expect((await ended).code).toBe(0);
  });
});

describe('C167: careless surroundings', () => {
  it('a umask of 000 opens nothing to others', async () => {
    place.write('modhost.toml', '[paths]\nmodules = "m"\ndata = "d"\nsockets = "s"\n');
    mkdirSync(join(place.dir, 'm'));
    const words = ['run', '--config', join(place.dir, 'modhost.toml'), '--log-format', 'json'];
    const { child, ended, until } = start(['sh', '-c', 'umask 000; exec "$@"', 'careless'], words);
    await until('modhost has started');
    const open = ['d', 's'].flatMap((dir) => openBelow(join(place.dir, dir)));
    child.kill('SIGTERM');
    await ended;
    expect(open).toEqual([]);
    expect(lstatSync(join(place.dir, 'd')).mode & 0o022).toBe(0);
  });

  it('a data directory that everybody may write is refused, and doctor tells the cure', async () => {
    place.write('modhost.toml', '[paths]\nmodules = "m"\ndata = "d"\nsockets = "s"\n');
    mkdirSync(join(place.dir, 'd', 'devchain'), { recursive: true });
    chmodSync(join(place.dir, 'd', 'devchain'), 0o777);
    const refused = await start([], ['run', ...config()]).ended;
    expect(refused.code).toBe(4);
    expect(refused.out + refused.err).toContain('UNSAFE_DATA_DIR');
    const report = JSON.parse((await ask('doctor', '--json', ...config())).out) as Report;
    expect(report.facts.find(({ topic }) => topic === 'data')).toMatchObject({ state: 'lacking' });
  });
});

/** Files and directories that others may write, or files that others may read. */
function openBelow(path: string): string[] {
  if (!existsSync(path)) return [];
  const { mode } = lstatSync(path);
  const found = lstatSync(path);
  // what every sandbox shows as /etc says nothing of anybody
  const isShown = path.includes('/s/etc');
  const isOpen = (mode & 0o022) !== 0 || (found.isFile() && !isShown && (mode & 0o044) !== 0);
  const below = found.isDirectory() ? readdirSync(path).flatMap((name) => openBelow(join(path, name))) : [];
  return isOpen ? [`${path} ${(mode & 0o7777).toString(8)}`, ...below] : below;
}
