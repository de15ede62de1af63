import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GUARANTEE_NAMES, type GuaranteeName } from '../contract/guarantee.js';
import type { Bait, LayBait } from './bait.js';
import {
  DYING_HOST,
  HOG_ACTS,
  type HostTraits,
  LINGER_ACTS,
  NODE_ACTS,
  type NodeActPlan,
  PARENT_VARIABLE,
  SHELL_ACTS,
  SPIN_ACTS,
  shellArguments,
} from './canary-acts.js';
import { boundedBy, type Trials } from './containment.js';
import type { ConfinedCommand, ModuleDirectories, ModuleIdentity, SandboxEngine } from './engine.js';
import type { ResourceGroup, ResourceGroups } from './group.js';
import { DEFAULT_LIMITS, type ResourceLimits } from './limits.js';
import type { RunOnce } from './probe.js';
import { PROCESS_FIELD, processFields, readText } from './proc.js';

/** What a canary tries a sandbox with. */
export interface CanaryOptions {
  readonly engine: SandboxEngine;
  readonly run: RunOnce;
  readonly layBait: LayBait;
  /** Directory of the host in which the canary's own directories are made and removed. */
  readonly runDir: string;
  readonly identity: ModuleIdentity | undefined;
  /** User of the neighbour, whose files and socket the canary must not reach; undefined = there is one user for all. */
  readonly neighbour: ModuleIdentity | undefined;
  /** User of the canary that tries the number of processes: they are counted by user. */
  readonly hog: ModuleIdentity | undefined;
  readonly groups: ResourceGroups | undefined;
  /** The Node that tries connections. */
  readonly node: string;
  /** Sockets of this machine that are open to every user, which only some engines hide. */
  readonly openSockets: readonly string[];
  /** Guarantees that the sandbox claims: what nobody claims is not tried. */
  readonly claimed: ReadonlySet<GuaranteeName>;
}

/** Limits of a canary that tries to break them: small, so that it is quick about it, and enough for what launches it. */
const TIGHT_LIMITS: ResourceLimits = { ...DEFAULT_LIMITS, memoryMb: 32, pids: 24 };
/** Processes that the hog tries, more than it may have. */
const HOG_PROCESSES = 48;
/** Memory that the hog tries to fill, bytes: twice what it may have. */
const HOG_BYTES = 64 * 1024 * 1024;
/** Share of a core for the canary that spins, percent, and for how long it tries, seconds. */
const SPIN_PERCENT = 30;
const SPIN_SECONDS = 0.25;
/** Above this share of the time the bound did not hold: quotas are given for periods of 100 ms, the first one at once. */
const MAX_SPIN_SHARE = 0.7;
/**
 * Runs the canary through an engine as a module would run, and tells which promises held. What the answer does not name
 * was not tried; a canary that does not run answers with its last words.
 */
export async function tryContainment(
  options: CanaryOptions,
): Promise<{ readonly trials: Trials } | { readonly failure: string }> {
  const root = await mkdtemp(join(await realpath(options.runDir), 'canary-'));
  let bait: Bait | undefined;
  try {
    const stage = await setUp(root, options);
    bait = await options.layBait([join(stage.neighbour, 'host.sock')]);
    await grantNeighbour(stage.neighbour, options.neighbour);
    const found = createFindings();
    const failures = await Promise.all([
      tryByShell(options, stage, found),
      tryByNode(options, stage, bait, found),
      tryLimits(options, stage, found),
      trySpin(options, stage, found),
      tryLifetime(options, stage, found),
    ]);
    for (const act of bait.reached()) found.add('network', act, false);
    // the shell runs wherever a module does: without it nothing was tried
    const [failure] = failures;
    return failure === undefined ? { trials: found.trials() } : { failure };
  } finally {
    await bait?.close();
    await rm(root, { recursive: true, force: true });
  }
}

/** Where the canary lives. */
interface Stage {
  readonly root: string;
  readonly directories: ModuleDirectories;
  readonly secret: string;
  readonly neighbour: string;
  /** Data and socket directory of the canary that tries limits, which has a user of its own. */
  readonly hogDirectories: ModuleDirectories;
}

async function setUp(root: string, { identity, hog }: CanaryOptions): Promise<Stage> {
  const directories = { code: join(root, 'code'), data: join(root, 'data'), socket: join(root, 'socket') };
  const hogDirectories = { ...directories, data: join(root, 'hog-data'), socket: join(root, 'hog-socket') };
  const neighbour = join(root, 'neighbour');
  await chmod(root, 0o711);
  const made = new Set([...Object.values(directories), ...Object.values(hogDirectories), neighbour]);
  for (const dir of made) {
    await mkdir(dir);
    await chmod(dir, 0o755);
  }
  // modes by chmod: a service runs under a umask that would close what is laid out, and the trial would prove nothing
  const lay = async (path: string, text: string): Promise<void> => {
    await writeFile(path, text);
    await chmod(path, 0o444);
  };
  const programs = { 'acts.sh': SHELL_ACTS, 'acts.cjs': NODE_ACTS, 'hog.sh': HOG_ACTS, 'spin.sh': SPIN_ACTS };
  for (const [name, text] of Object.entries({ ...programs, 'linger.sh': LINGER_ACTS })) {
    await lay(join(directories.code, name), text);
  }
  const secret = join(root, 'secret');
  // readable to all, so that only the sandbox hides it
  await lay(secret, randomBytes(16).toString('hex'));
  await lay(join(neighbour, 'file'), 'x');
  await symlink(secret, join(directories.data, 'link'));
  for (const [owner, { data, socket }] of [[identity, directories] as const, [hog, hogDirectories] as const])
    if (owner !== undefined) for (const dir of [data, socket]) await chown(dir, owner.uid, owner.gid);
  return { root, directories, secret, neighbour, hogDirectories };
}

/** As the directories of a real module are: closed to all but its user. */
async function grantNeighbour(dir: string, neighbour: ModuleIdentity | undefined): Promise<void> {
  for (const path of [join(dir, 'host.sock'), join(dir, 'file'), dir]) {
    if (path !== dir) await chmod(path, 0o600);
    else await chmod(path, 0o700);
    if (neighbour !== undefined) await chown(path, neighbour.uid, neighbour.gid);
  }
}

async function tryByShell(options: CanaryOptions, stage: Stage, found: Findings): Promise<string | undefined> {
  const view = options.engine.view(stage.directories);
  const args = shellArguments(
    { secret: stage.secret, neighbour: stage.neighbour, ...view },
    hostTraits(),
    DEFAULT_LIMITS.openFiles,
    options.claimed,
  );
  const answer = await runPart(options, stage, 'acts.sh', args);
  if (answer.code !== 0) return answer.stderr.trim().split('\n')[0] || `the canary ended with ${answer.code}`;
  found.read(answer.stdout);
  const written = await stat(join(stage.directories.data, 'modhost-canary')).catch(() => undefined);
  if (options.identity !== undefined)
    found.add('user', 'write as somebody else', written?.uid === options.identity.uid);
  return undefined;
}

async function tryByNode(options: CanaryOptions, stage: Stage, bait: Bait, found: Findings): Promise<void> {
  const plan: NodeActPlan = {
    tcpPort: bait.tcpPort,
    udpPort: bait.udpPort,
    abstractName: bait.abstractName,
    paths: [join(stage.neighbour, 'host.sock'), ...options.openSockets],
    openFiles: DEFAULT_LIMITS.openFiles,
  };
  const program = join(options.engine.view(stage.directories).code, 'acts.cjs');
  const command = await confine(options, stage, options.node, [program, JSON.stringify(plan)], DEFAULT_LIMITS);
  found.read((await options.run(command)).stdout);
}

/** Processes and memory past the limits: the control group's counters tell, or the shell's last word where there is none. */
async function tryLimits(options: CanaryOptions, stage: Stage, found: Findings): Promise<void> {
  const { claimed } = options;
  if (!claimed.has('pids') && !claimed.has('memory')) return;
  await inGroup(options, 'canary-hog', async (group) => {
    const command = await confineShell(
      { ...options, identity: options.hog },
      { ...stage, directories: stage.hogDirectories },
      'hog.sh',
      [HOG_PROCESSES, HOG_BYTES].map(String),
      TIGHT_LIMITS,
      group,
    );
    const { stdout } = await options.run(command);
    const usage = group?.usage();
    if (claimed.has('pids') && /^1$/m.test(stdout)) {
      const stopped = !/^all$/m.test(stdout) || (usage?.pidsRefused ?? 0) > 0;
      found.add('pids', `start ${HOG_PROCESSES} processes where ${TIGHT_LIMITS.pids} are allowed`, stopped);
    }
    if (claimed.has('memory') && usage?.oomKills !== undefined)
      found.add('memory', 'fill twice its memory', usage.oomKills > 0);
  });
}

async function trySpin(options: CanaryOptions, stage: Stage, found: Findings): Promise<void> {
  if (!options.claimed.has('cpu') || options.groups === undefined) return;
  await inGroup(options, 'canary-spin', async (group) => {
    group?.setCpuPercent(SPIN_PERCENT);
    const command = await confineShell(options, stage, 'spin.sh', [String(SPIN_SECONDS)], DEFAULT_LIMITS, group);
    const begun = performance.now();
    await options.run(command);
    const tookMs = performance.now() - begun;
    const usedMs = group?.usage().cpuMs;
    if (usedMs !== undefined && usedMs > 0) {
      found.add('cpu', `use more than ${SPIN_PERCENT} % of a core`, usedMs / tookMs < MAX_SPIN_SHARE);
    }
  });
}

/** Kills what stands in for the host while the canary runs; the canary must not outlive it. */
async function tryLifetime(options: CanaryOptions, stage: Stage, found: Findings): Promise<void> {
  if (!options.claimed.has('lifetime')) return;
  const { data } = options.engine.view(stage.directories);
  const command = await confineShell(options, stage, 'linger.sh', [data], DEFAULT_LIMITS, undefined);
  const dying = withDyingHost(command, join(stage.directories.data, 'up'));
  if (dying === undefined) return;
  const { stderr } = await options.run(dying);
  const ran = await stat(join(stage.directories.data, 'up')).catch(() => undefined);
  const survived = await stat(join(stage.directories.data, 'survived')).catch(() => undefined);
  if (ran !== undefined || stderr === '')
    found.add('lifetime', 'outlive the host', ran !== undefined && survived === undefined);
}

/** The command as the child of a shell that dies; undefined when the chain does not tell where it asks for its parent. */
function withDyingHost(command: ConfinedCommand, up: string): ConfinedCommand | undefined {
  const own = `[ "$PPID" = ${process.pid} ]`;
  const words = [command.file, ...command.args];
  if (!words.some((word) => word.includes(own))) return undefined;
  const adopted = words.map((word) => word.replace(own, `[ "$PPID" = "$${PARENT_VARIABLE}" ]`));
  return { ...command, file: 'sh', args: ['-c', DYING_HOST, 'sh', up, ...adopted] };
}

async function runPart(options: CanaryOptions, stage: Stage, script: string, args: readonly string[]) {
  return options.run(await confineShell(options, stage, script, args, DEFAULT_LIMITS, undefined));
}

function confineShell(
  options: CanaryOptions,
  stage: Stage,
  script: string,
  args: readonly string[],
  limits: ResourceLimits,
  group: ResourceGroup | undefined,
): Promise<ConfinedCommand> {
  const path = join(options.engine.view(stage.directories).code, script);
  return confine(options, stage, '/bin/sh', [path, ...args], limits, group);
}

function confine(
  { engine, identity, groups }: CanaryOptions,
  { directories }: Stage,
  program: string,
  args: readonly string[],
  limits: ResourceLimits,
  group?: ResourceGroup | undefined,
): Promise<ConfinedCommand> {
  return engine.prepare({
    name: 'canary',
    directories,
    program: { from: 'host', path: program },
    args,
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    limits,
    identity,
    extraReadOnly: [],
    joinFiles: group?.joinFiles ?? [],
    bounded: boundedBy(group === undefined ? undefined : groups?.powers),
    network: undefined,
  });
}

async function inGroup(
  { groups }: CanaryOptions,
  name: string,
  work: (group: ResourceGroup | undefined) => Promise<void>,
): Promise<void> {
  const group = await groups?.create(name, TIGHT_LIMITS);
  try {
    await work(group);
  } finally {
    await group?.remove();
  }
}

function hostTraits(): HostTraits {
  const filters = /^Seccomp_filters:\s*([0-9]+)$/m.exec(readText('/proc/self/status') ?? '')?.[1];
  return {
    pid: process.pid,
    startTicks: processFields('self')?.[PROCESS_FIELD.startTicks] ?? '',
    networkNamespace: readlinkSync('/proc/self/ns/net'),
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
    filters: Number(filters ?? 0),
  };
}

/** What was seen so far. */
interface Findings {
  /** Takes the lines that the programs print. */
  read(stdout: string): void;
  add(name: GuaranteeName, act: string, held: boolean): void;
  trials(): Trials;
}

function createFindings(): Findings {
  const trials = new Map<GuaranteeName, string[]>();
  const add: Findings['add'] = (name, act, held) => {
    const broken = trials.get(name) ?? [];
    trials.set(name, held || broken.includes(act) ? broken : [...broken, act]);
  };
  return {
    add,
    read(stdout) {
      for (const line of stdout.split('\n')) {
        const [word, act = '', verdict] = line.split('\t');
        const name = GUARANTEE_NAMES.find((known) => known === word);
        if (name !== undefined && (verdict === 'held' || verdict === 'broken')) add(name, act, verdict === 'held');
      }
    },
    trials: () => trials,
  };
}
