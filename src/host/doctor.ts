import { accessSync, chmodSync, constants, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { SandboxMinimum, SandboxWord } from '../contract/guarantee.js';
import type { Logger } from '../core/logger.js';
import { defaultInterpreters } from '../process/interpreters.js';
import { createLayBait } from '../process/lay-bait.js';
import { createRunOnce } from '../process/run-once.js';
import type { Guarantee } from '../sandbox/guarantee.js';
import { type Machine, readMachine } from '../sandbox/machine.js';
import { type MissingGuarantee, missingGuarantees, wordsMet } from '../sandbox/minimum.js';
import { openSandbox, type Sandbox } from '../sandbox/open.js';
import { findProgram } from '../sandbox/probe.js';
import { findRemedies, type Remedy } from '../sandbox/remedies.js';

/** What is to be examined: the settings that a run would have. */
export interface DoctorOptions {
  readonly minimum: SandboxMinimum;
  readonly dataDir: string;
  readonly modulesDir: string;
  readonly socketDir: string;
  readonly interpreters: Readonly<Record<string, string>>;
  readonly logger: Logger;
}

/** One thing that was looked at. */
export interface Fact {
  readonly topic: string;
  /** `ok`, `note`: worth to know, `lacking`: something does not work for it. */
  readonly state: 'ok' | 'note' | 'lacking';
  readonly text: string;
}

/** What a run would find on this machine. */
export interface Examination {
  readonly minimum: SandboxMinimum;
  /** What of the minimum is missing; empty = it is met. */
  readonly missing: readonly MissingGuarantee[];
  /** The words of `sandbox.minimum` that this machine meets, the strictest first. */
  readonly meets: readonly SandboxWord[];
  /** `bubblewrap`, `landlock` or `none`. */
  readonly engine: string;
  readonly containment: readonly Guarantee[];
  readonly facts: readonly Fact[];
  readonly remedies: readonly Remedy[];
}

/** Tools of the machine that a host uses, with what for, and whether anything works without them. */
const TOOLS: readonly (readonly [name: string, use: string])[] = [
  ['bwrap', 'the sandbox'],
  ['prlimit', 'limits of processes'],
  ['setpriv', 'users of modules, the tie to the host'],
  ['unshare', 'directories that the users of modules cannot enter; network of modules'],
  ['nsenter', 'network of modules'],
  ['ip', 'network of modules'],
  ['python3', 'confinement without namespaces, modules in Python'],
];

/** Opens the sandbox as a host would, in a directory of its own, tells what it found, and clears everything away. */
export async function examineMachine(options: DoctorOptions): Promise<Examination> {
  const runDir = mkdtempSync(join(tmpdir(), 'modhost-doctor-'));
  // as a host's socket directory: users of modules pass through it
  chmodSync(runDir, 0o711);
  const { logger, minimum } = options;
  let sandbox: Sandbox | undefined;
  try {
    sandbox = await openSandbox({ runDir, run: createRunOnce(), layBait: createLayBait(), logger });
    const containment = sandbox.engine.containment();
    const machine = readMachine();
    const engine = sandbox.engine.name;
    return {
      minimum,
      missing: missingGuarantees(minimum, containment),
      meets: wordsMet(containment),
      engine,
      containment,
      facts: [...machineFacts(machine, sandbox), ...toolFacts(), ...placeFacts(options), ...interpreterFacts(options)],
      remedies: findRemedies({ machine, sandbox, engine, containment }),
    };
  } finally {
    await sandbox?.groups?.close();
    rmSync(runDir, { recursive: true, force: true });
  }
}

function machineFacts(machine: Machine, { probe, groups, ownUsers }: Sandbox): Fact[] {
  const { bubblewrap, landlock } = probe;
  const { memory, cpu, pids } = groups?.powers ?? {};
  const powers = Object.entries({ memory, cpu, pids }).flatMap(([name, by]) => (by === undefined ? [] : [name]));
  const hasAllPowers = powers.length === 3;
  return [
    { topic: 'node', state: 'ok', text: `${process.version} at ${process.execPath}` },
    {
      topic: 'machine',
      state: machine.platform === 'linux' ? 'ok' : 'lacking',
      text: [`${machine.platform} ${machine.arch}, kernel ${machine.kernel}`, machine.board, machine.container]
        .filter((part) => part !== undefined)
        .join(', '),
    },
    {
      topic: 'user',
      state: ownUsers ? 'ok' : 'note',
      text: ownUsers ? 'root: each module gets a user of its own' : abilityText(probe.ownUsers, ''),
    },
    {
      topic: 'namespaces',
      state: bubblewrap.works ? 'ok' : 'lacking',
      text: [abilityText(bubblewrap, 'bubblewrap ran a program in namespaces'), machine.namespacesOff]
        .filter((part) => part !== undefined)
        .join('; '),
    },
    {
      topic: 'AppArmor',
      state: machine.appArmorRestrictsNamespaces && !bubblewrap.works ? 'lacking' : 'ok',
      text: machine.appArmorRestrictsNamespaces
        ? 'user namespaces only for programs whose profile grants them'
        : 'does not restrict user namespaces',
    },
    {
      topic: 'seccomp',
      state: machine.hasSeccomp ? 'ok' : 'lacking',
      text: machine.hasSeccomp ? 'the kernel filters system calls' : 'the kernel was built without it',
    },
    {
      topic: 'Landlock',
      state: landlock.works ? 'ok' : bubblewrap.works ? 'note' : 'lacking',
      text: landlock.works ? `version ${landlock.abi}` : landlock.reason,
    },
    {
      topic: 'cgroups',
      state: hasAllPowers ? 'ok' : 'note',
      text: `${machine.controlGroups} mounted; the host may bound ${powers.length === 0 ? 'nothing' : powers.join(', ')}`,
    },
    {
      topic: 'memory',
      state: machine.memoryController === false ? 'note' : 'ok',
      text: [
        machine.memoryController === false
          ? 'the kernel has no memory controller, or it is switched off'
          : 'controlled',
        machine.swapBytes === undefined ? 'swap unknown' : `swap ${Math.round(machine.swapBytes / MIB)} MiB`,
      ].join(', '),
    },
  ];
}

/** Bytes of one MiB. */
const MIB = 1024 * 1024;

function abilityText(ability: Sandbox['probe']['bubblewrap'], works: string): string {
  return ability.works ? works : ability.reason;
}

function toolFacts(): Fact[] {
  return TOOLS.map(([name, use]) => {
    const path = findProgram(name);
    return path === undefined
      ? { topic: name, state: 'lacking', text: `not installed: ${use}` }
      : { topic: name, state: 'ok', text: `${path}: ${use}` };
  });
}

function placeFacts({ dataDir, modulesDir, socketDir }: DoctorOptions): Fact[] {
  const places = { data: dataDir, modules: modulesDir, sockets: socketDir };
  return Object.entries(places).map(([topic, path]) => ({ topic, ...placeState(path, topic !== 'modules') }));
}

function placeState(path: string, isWritten: boolean): Omit<Fact, 'topic'> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) {
    const parent = dirname(path);
    if (parent === path || statSync(parent, { throwIfNoEntry: false }) === undefined || may(parent, constants.W_OK))
      return { state: 'note', text: `${path} is not there yet` };
    return { state: 'lacking', text: `${path} is not there, and ${parent} is not writable for this user` };
  }
  if (!found.isDirectory()) return { state: 'lacking', text: `${path} is no directory` };
  if ((found.mode & 0o022) !== 0)
    return { state: 'lacking', text: `${path} is writable for others: chmod go-w ${path}` };
  if (!may(path, isWritten ? constants.W_OK : constants.R_OK))
    return { state: 'lacking', text: `${path} is not ${isWritten ? 'writable' : 'readable'} for this user` };
  return { state: 'ok', text: path };
}

function may(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

function interpreterFacts({ interpreters }: DoctorOptions): Fact[] {
  return [...defaultInterpreters(Object.entries(interpreters))].map(([name, path]) =>
    may(path, constants.X_OK)
      ? { topic: `[${name}]`, state: 'ok', text: path }
      : { topic: `[${name}]`, state: 'note', text: `not at ${path}: modules that name it do not start` },
  );
}
