import { readdirSync } from 'node:fs';
import { chmod, mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { basename, isAbsolute, join, normalize } from 'node:path';
import { HostError } from '../contract/error.js';
import type { GuaranteeName } from '../contract/guarantee.js';
import { type Bind, bubblewrapArguments, ETC_FILES, hostsFile, INNER, INNER_PROGRAMS } from './bubblewrap-arguments.js';
import type { ConfinedCommand, ConfineSpec, SandboxEngine, StartGate } from './engine.js';
import { gatedProgram, launchWord, splitEnvironment } from './gate.js';
import { type Guarantee, guarantees } from './guarantee.js';
import { countsPerNamespace, innerProcessBound, launchChain, SYSTEM_PATH } from './launch-chain.js';
import { assertUsable } from './ownership.js';
import { stageSources } from './stage.js';

/** Descriptor with bubblewrap's arguments: on its command line the module could read the host's paths in /proc/1. */
const ARGS_FD = 3;
/** Descriptors of the start gate. */
const GATE: StartGate = { readyFd: 4, goFd: 5 };
/** Descriptors of what differs from spawn to spawn: each of its own, since bubblewrap closes one after its use. */
const SECCOMP_FD = 6;
const HOSTS_FD = 7;

/** What the engine needs to know of the machine. */
export interface BubblewrapOptions {
  /** Absolute path of bwrap. */
  readonly bwrap: string;
  /** Directory of the host, its own, in which `etc/` is made; writable to nobody else. */
  readonly runDir: string;
  /** True when every spec comes with an identity: the host is root and may change users. */
  readonly ownUsers: boolean;
  /** Filter of system calls for a module with or without network; undefined = none for this machine's architecture. */
  readonly filter: (options: { readonly network: boolean }) => Uint8Array | undefined;
  /** Descriptors of the host that a child would inherit, asked before each start. */
  readonly inherited: () => readonly number[];
}

/**
 * Confines by bubblewrap: an empty root with an allow-list in it, no network, namespaces of its own, no privileges to
 * gain, a user of its own where the host is root, a filter of system calls. It bounds neither memory nor CPU nor disk:
 * control groups and the host's watch do.
 */
export async function createBubblewrapEngine(options: BubblewrapOptions): Promise<SandboxEngine> {
  const etc = await writeEtc(options.runDir);
  return {
    name: 'bubblewrap',
    view: () => INNER,
    prepare: (spec) => prepare(options, etc, spec),
    containment: () => containment(options),
  };
}

async function prepare(options: BubblewrapOptions, etc: string, spec: ConfineSpec): Promise<ConfinedCommand> {
  await assertUsable(spec.directories, spec.identity);
  const shown = await extraBinds(spec.extraReadOnly);
  const { program, bind } = await locateProgram(spec, shown);
  const readOnly = bind === undefined ? shown : [...shown, bind];
  const { code, data, socket } = spec.directories;
  const sources = [...new Set([code, data, socket, etc, ...readOnly.map(({ source }) => source)])];
  const { command: stage, pathOf } = await stageSources(sources, spec.identity);
  const staged = (path: string): string => pathOf.get(path) ?? path;
  const filter = options.filter({ network: spec.network !== undefined });
  const { before, after } = splitEnvironment(spec.env);
  const args = bubblewrapArguments(
    {
      code: staged(code),
      data: staged(data),
      socket: staged(socket),
      etc: staged(etc),
      readOnly: readOnly.map(({ source, target }) => ({ source: staged(source), target })),
      env: before,
      hostsFd: spec.network === undefined ? undefined : HOSTS_FD,
      seccompFd: filter === undefined ? undefined : SECCOMP_FD,
      network: spec.network !== undefined,
    },
    readdirSync('/etc'),
  );
  const inputs = new Map<number, Uint8Array>([[ARGS_FD, Buffer.from(`${args.join('\0')}\0`)]]);
  if (filter !== undefined) inputs.set(SECCOMP_FD, filter);
  if (spec.network !== undefined) inputs.set(HOSTS_FD, Buffer.from(hostsFile(spec.network)));
  const word = launchWord(options.runDir);
  const gated = gatedProgram({
    gate: GATE,
    word,
    processes: innerProcessBound(spec),
    env: after.length === 0 ? [] : ['/usr/bin/env', '-u', word, ...after.map(([name, value]) => `${name}=${value}`)],
    program,
    args: spec.args,
  });
  const [file = '', ...rest] = launchChain(
    {
      ...spec,
      network: spec.network !== undefined,
      stage,
      deathSignal: false,
      hostPid: process.pid,
      // Below, the pipes of this very chain take the numbers.
      inherited: options.inherited().filter((fd) => fd > Math.max(GATE.goFd, ...inputs.keys())),
      word,
    },
    [options.bwrap, '--args', String(ARGS_FD), '--', ...gated],
  );
  return { file, args: rest, env: { PATH: SYSTEM_PATH }, cwd: '/', inputs, nested: true, gate: GATE };
}

/** Where the program is inside; one that lies outside of everything shown is shown by itself, its neighbours are not. */
async function locateProgram(spec: ConfineSpec, shown: readonly Bind[]): Promise<{ program: string; bind?: Bind }> {
  if (spec.program.from === 'module') return { program: join(INNER.code, spec.program.path) };
  const source = await realpath(spec.program.path).catch((cause: unknown) => {
    throw new HostError('INTERPRETER_MISSING', `${spec.program.path} is not there`, { cause });
  });
  const visible = [{ source: '/usr', target: '/usr' }, ...shown];
  const around = visible.find((bind) => source === bind.source || source.startsWith(`${bind.source}/`));
  // By the link's own name where it is visible: `python3` in a virtual environment finds its packages by it.
  if (around !== undefined) {
    const byName = visible.some((bind) => spec.program.path.startsWith(`${bind.target}/`));
    return { program: byName ? spec.program.path : around.target + source.slice(around.source.length) };
  }
  const target = `${INNER_PROGRAMS}/${basename(source)}`;
  return { program: target, bind: { source, target } };
}

/** Targets that would cover what the sandbox itself mounts, or open what it hides. */
const FORBIDDEN_EXTRAS = ['/', '/proc', '/sys', '/dev', '/run', '/tmp', '/etc', '/usr', INNER.code, INNER.data];

async function extraBinds(paths: readonly string[]): Promise<Bind[]> {
  return Promise.all(
    paths.map(async (path): Promise<Bind> => {
      const target = normalize(path).replace(/(?<=.)\/$/, '');
      if (
        !isAbsolute(target) ||
        FORBIDDEN_EXTRAS.includes(target) ||
        /^\/(?:proc|sys|dev|module|data)\//.test(target)
      ) {
        throw new HostError('BAD_CONFIG', `extra read-only path ${path} cannot be shown to a module`);
      }
      const source = await realpath(target).catch((cause: unknown) => {
        throw new HostError('BAD_CONFIG', `extra read-only path ${path} is not there`, { cause });
      });
      return { source, target };
    }),
  );
}

/** Folder of the socket directory that the sandboxes show as `/etc`. */
export const ETC_DIR = 'etc';

async function writeEtc(runDir: string): Promise<string> {
  const etc = join(await realpath(runDir), ETC_DIR);
  await mkdir(etc, { recursive: true });
  await chmod(etc, 0o755);
  for (const [name, text] of ETC_FILES) {
    const path = join(etc, name);
    // Left alone when it is right: modules of this host may be looking at it.
    if ((await readFile(path, 'utf8').catch(() => undefined)) !== text) await writeFile(path, text);
    await chmod(path, 0o644);
  }
  return etc;
}

function containment({ ownUsers, filter }: BubblewrapOptions): Guarantee[] {
  const known = new Map<GuaranteeName, Omit<Guarantee, 'name'>>();
  const enforced = (name: GuaranteeName, by: string): void =>
    void known.set(name, { state: 'enforced', by, verified: false });
  const absent = (name: GuaranteeName, by: string): void =>
    void known.set(name, { state: 'none', by, verified: false });
  enforced('filesystem', 'bubblewrap, empty root');
  enforced('network', 'bubblewrap, network namespace');
  enforced('processes', 'bubblewrap, process namespace');
  enforced('privileges', 'no_new_privs, no capabilities, no further user namespaces');
  enforced('open_files', 'RLIMIT_NOFILE of each process');
  enforced('lifetime', 'parent death signal and process namespace');
  if (filter({ network: false }) === undefined) absent('syscalls', `no filter of system calls for ${process.arch}`);
  else enforced('syscalls', 'seccomp filter');
  if (ownUsers) {
    enforced('user', 'a user id of its own');
    enforced('pids', "RLIMIT_NPROC of the module's user");
  } else {
    absent('user', 'the host cannot change users: modules run as its own user');
    if (countsPerNamespace()) enforced('pids', "RLIMIT_NPROC in the sandbox's own user namespace");
  }
  return guarantees(known, 'not bounded by bubblewrap');
}
