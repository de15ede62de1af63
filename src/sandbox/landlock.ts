import { join } from 'node:path';
import { HostError } from '../contract/error.js';
import type { GuaranteeName } from '../contract/guarantee.js';
import type { ConfineSpec, SandboxEngine, StartGate } from './engine.js';
import { gatedProgram, launchWord, splitEnvironment } from './gate.js';
import { type Guarantee, guarantees } from './guarantee.js';
import { LANDLOCK_LAUNCHER } from './landlock-launcher.js';
import { launchChain, SYSTEM_PATH } from './launch-chain.js';
import { assertUsable } from './ownership.js';

/** Descriptor with the rules, and that with the filter; the launcher knows them by number. */
const RULES_FD = 3;
const FILTER_FD = 4;
/** Descriptors of the start gate. */
const GATE: StartGate = { readyFd: 5, goFd: 6 };

/** Landlock holds abstract sockets and signals back from this version on (Linux 6.12). */
export const SCOPE_ABI = 6;

/** What every program needs to start; what is not there is passed over. */
const READABLE = [
  ...['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/nix/store'],
  ...[
    '/etc/ld.so.cache',
    '/etc/alternatives',
    '/etc/ssl/certs',
    '/etc/ssl/openssl.cnf',
    '/etc/ca-certificates',
    '/etc/pki/tls/certs',
  ],
  ...['/etc/localtime', '/etc/nsswitch.conf', '/etc/hosts'],
  // of processes its own first one alone: the directory of each is a file of its own to Landlock
  ...['/proc/self', '/proc/meminfo', '/proc/cpuinfo', '/proc/stat', '/proc/uptime', '/proc/loadavg', '/proc/version'],
  ...['/proc/filesystems', '/proc/sys/vm', '/proc/sys/kernel', '/sys/devices/system/cpu'],
];
const DEVICES = ['/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom'];

/** What the engine needs to know of the machine. */
export interface LandlockOptions {
  /** Absolute path of Python 3, which makes the system calls. */
  readonly python: string;
  /** Version of the kernel's Landlock, 1 or more. */
  readonly abi: number;
  readonly ownUsers: boolean;
  /** Directory of the host, its own. */
  readonly runDir: string;
  /** Filter of system calls for a module with or without network; undefined = none for this machine's architecture. */
  readonly filter: (options: { readonly network: boolean }) => Uint8Array | undefined;
  /** Descriptors of the host that a child would inherit, asked before each start. */
  readonly inherited: () => readonly number[];
}

/**
 * Confines without namespaces, which most containers refuse: an allow-list of files that the kernel checks, no sockets
 * but Unix ones, no privileges to gain. A module sees the machine's paths and its first process only in `/proc`; it has no
 * private `/tmp` and no network, and what it leaves behind is not tied to its first process.
 */
export function createLandlockEngine(options: LandlockOptions): SandboxEngine {
  return {
    name: 'landlock',
    view: (directories) => directories,
    async prepare(spec) {
      if (spec.network !== undefined) {
        throw new HostError(
          'NETWORK_UNAVAILABLE',
          `${spec.name} is granted network, and this machine lets the host make no network namespaces to give it in`,
        );
      }
      await assertUsable(spec.directories, spec.identity);
      const word = launchWord(options.runDir);
      const [file = '', ...args] = launchChain(
        {
          ...spec,
          network: false,
          stage: [],
          deathSignal: true,
          hostPid: process.pid,
          // below, the pipes of this very chain take the numbers
          inherited: options.inherited().filter((fd) => fd > GATE.goFd),
          word,
        },
        [options.python, '-I', '-S', '-c', LANDLOCK_LAUNCHER, word],
      );
      return {
        file,
        args,
        env: { PATH: SYSTEM_PATH },
        cwd: '/',
        inputs: new Map<number, Uint8Array>([
          [RULES_FD, Buffer.from(JSON.stringify(planOf(spec, word)))],
          [FILTER_FD, options.filter({ network: false }) ?? new Uint8Array()],
        ]),
        nested: false,
        gate: GATE,
      };
    },
    containment: () => containment(options),
  };
}

/** What the launcher does: rules, and the gate with the program behind it, which runs under them. */
function planOf({ directories, program, args, env, extraReadOnly }: ConfineSpec, word: string): object {
  const path = program.from === 'module' ? join(directories.code, program.path) : program.path;
  const { before, after } = splitEnvironment(env);
  const optional = (paths: readonly string[]) => paths.map((each) => [each, false]);
  const needed = (paths: readonly string[]) => paths.map((each) => [each, true]);
  const gated = gatedProgram({
    gate: GATE,
    word,
    processes: undefined,
    env: after.length === 0 ? [] : ['/usr/bin/env', '-u', word, ...after.map(([name, value]) => `${name}=${value}`)],
    program: path,
    args,
  });
  return {
    cwd: directories.code,
    argv: gated,
    env: Object.fromEntries(before),
    rules: {
      read: [...optional(READABLE), ...needed([directories.code, directories.socket, path, ...extraReadOnly])],
      device: optional(DEVICES),
      write: needed([directories.data]),
    },
  };
}

function containment({ abi, ownUsers, filter }: LandlockOptions): Guarantee[] {
  const known = new Map<GuaranteeName, Omit<Guarantee, 'name'>>();
  const by = `Landlock ${abi}`;
  const set = (name: GuaranteeName, holds: boolean, means: string, cause = ''): void =>
    void known.set(name, { state: holds ? 'enforced' : 'none', by: holds ? means : cause, verified: false });
  const hasFilter = filter({ network: false }) !== undefined;
  const hasScope = abi >= SCOPE_ABI;
  const scope = `Landlock ${abi} of this kernel holds back neither signals nor abstract sockets, ${SCOPE_ABI} would`;
  set('filesystem', true, by);
  set('processes', hasScope, `${by}: no /proc of others, no signals`, scope);
  set('privileges', true, 'no_new_privs, no capabilities');
  set('open_files', true, 'RLIMIT_NOFILE of each process');
  set('syscalls', hasFilter, 'seccomp filter', `no filter of system calls for ${process.arch}`);
  set(
    'network',
    hasFilter && hasScope && ownUsers,
    `seccomp filter (Unix sockets alone), ${by}; sockets of others by their modes`,
    !hasFilter
      ? `no filter of system calls for ${process.arch}`
      : !hasScope
        ? scope
        : "without namespaces a module reaches the Unix sockets of the host's own user, those of other modules too",
  );
  const noUsers = 'the host cannot change users: modules run as its own user';
  set('user', ownUsers, 'a user id of its own', noUsers);
  if (ownUsers) set('pids', true, "RLIMIT_NPROC of the module's user");
  set('lifetime', false, '', 'without namespaces only the first process of a module dies with the host');
  return guarantees(known, 'not bounded without namespaces');
}
