import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { HostError } from '../contract/error.js';
import type { Bounded, ModuleIdentity } from './engine.js';
import type { ResourceLimits } from './limits.js';

/** Where the chain's own programs are looked for; never the host's PATH, which a service's caller may have set. */
export const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** Exit code of the chain when the host died before the chain could be tied to its life. */
const EXIT_HOST_GONE = 125;

/** Exit code of the chain when a control group could not be joined. */
export const EXIT_NOT_JOINED = 124;

/** Processes of bubblewrap itself, outside and inside: they are in the module's control group, and have its user. */
export const SANDBOX_PROCESSES = 2;

/** Of these, those inside, which count where only the sandbox's own user namespace is counted. */
const INNER_SANDBOX_PROCESSES = 1;

/** Bytes of a MiB. */
const MIB = 1024 * 1024;

/** What happens to a process before it becomes `command`. */
export interface ChainOptions {
  readonly limits: ResourceLimits;
  readonly identity: ModuleIdentity | undefined;
  readonly bounded: Bounded;
  readonly joinFiles: readonly string[];
  /** True when the chain makes the network namespace. */
  readonly network: boolean;
  /** What `stageSources` puts before the rest. */
  readonly stage: readonly string[];
  /**
   * True when the chain sets the death signal itself. bubblewrap sets its own, and must not have one before: killed
   * between the birth of its inner half and the word that lets that half go on, it leaves a process that waits for ever.
   */
  readonly deathSignal: boolean;
  /** Process id of the host; the chain ends when its parent is another one. */
  readonly hostPid: number;
  /** Descriptors that would be inherited and are none of the chain's own; they are closed. */
  readonly inherited: readonly number[];
  /** `launchWord` of the host. */
  readonly word: string;
}

/**
 * A command that binds itself, exec after exec, so that the pid stays the same: control groups joined before anything else
 * runs, stray descriptors closed, network and mount namespaces made while it still may, rlimits set, the module's user
 * taken on, its life tied to the host's thread, and the tie checked: a parent that died before PR_SET_PDEATHSIG would
 * leave an orphan.
 */
export function launchChain(options: ChainOptions, command: readonly string[]): string[] {
  return [
    ...joining(options),
    ...(options.network ? ownNetwork(options) : []),
    ...options.stage,
    ...rlimits(options),
    ...setpriv(options),
    ...tiedTo(options.hostPid, options.word),
    ...command,
  ];
}

/**
 * A shell that becomes what follows it, unless the host has died: a parent that was gone before the death signal was set
 * would leave an orphan.
 *
 * @param word stands on the shell's command line, and on that of nothing after it
 */
export function tiedTo(hostPid: number, word: string): string[] {
  return ['sh', '-c', `[ "$PPID" = ${hostPid} ] || exit ${EXIT_HOST_GONE}; exec "$@"`, word];
}

function rlimits({ limits, identity, bounded }: ChainOptions): string[] {
  const flag = (name: string, value: number): string => `--${name}=${value}:${value}`;
  const flags = [flag('nofile', limits.openFiles), flag('core', 0), flag('fsize', limits.dataMb * MIB)];
  // Of each process alone, but a clean "out of memory" for it; RLIMIT_AS would count what V8 and Java merely reserve.
  if (!bounded.memory) flags.push(flag('data', limits.memoryMb * MIB));
  // RLIMIT_NPROC counts all processes of a user: out here it says something only where the module is the user.
  if (identity !== undefined && !bounded.pids) flags.push(flag('nproc', limits.pids + SANDBOX_PROCESSES));
  return ['prlimit', ...flags, '--'];
}

/** Since this release RLIMIT_NPROC is counted in each user namespace by itself (`man 7 user_namespaces`). */
const NPROC_PER_NAMESPACE = [5, 14] as const;

/**
 * Bound of processes to set inside of the sandbox, where neither a control group nor a user of its own bounds them:
 * there the kernel counts those of the sandbox's user namespace alone. Undefined = not needed, or the kernel is older.
 */
export function innerProcessBound(
  { limits, identity, bounded }: Pick<ChainOptions, 'limits' | 'identity' | 'bounded'>,
  kernel: string = release(),
): number | undefined {
  if (bounded.pids || identity !== undefined || !countsPerNamespace(kernel)) return undefined;
  return limits.pids + INNER_SANDBOX_PROCESSES;
}

/** True when this kernel counts RLIMIT_NPROC in each user namespace by itself. */
export function countsPerNamespace(kernel: string = release()): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  const [sinceMajor, sinceMinor] = NPROC_PER_NAMESPACE;
  return major > sinceMajor || (major === sinceMajor && minor >= sinceMinor);
}

function setpriv({ identity, deathSignal }: ChainOptions): string[] {
  const user =
    identity === undefined ? [] : ['--reuid', String(identity.uid), '--regid', String(identity.gid), '--clear-groups'];
  // The death signal stands in the call that changes the user: a later change of user would clear it.
  const flags = deathSignal ? [...user, '--pdeathsig', 'KILL'] : user;
  return flags.length === 0 ? [] : ['setpriv', ...flags, '--'];
}

/**
 * A network of nothing but a loopback device on which every address is local and every port may be bound: whatever a
 * program dials, the host's listeners in there decide. IPv6 may be switched off on the machine; where it is on, a socket
 * may be bound to an address that is local by a route alone only when told so.
 */
const NETWORK_SCRIPT = `ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_unprivileged_port_start \
&& ip route add local 0.0.0.0/0 dev lo || exit ${EXIT_NOT_JOINED}
ip -6 route add local ::/0 dev lo 2>/dev/null && echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
exec "$@"`;

function ownNetwork({ identity, word }: ChainOptions): string[] {
  // Who cannot change users gets the right over the new network from a user namespace; the sandbox, one further in, has
  // no such right again.
  const user = identity === undefined ? ['--user', '--map-root-user'] : [];
  return ['unshare', ...user, '--net', '--', 'sh', '-c', NETWORK_SCRIPT, word];
}

/** `$1` is the number of files, then they, then the command. */
const JOIN_SCRIPT = `n=$1; shift
while [ "$n" -gt 0 ]; do echo 0 > "$1" || exit ${EXIT_NOT_JOINED}; shift; n=$((n - 1)); done`;

function joining({ joinFiles, inherited, word }: ChainOptions): string[] {
  if (joinFiles.length === 0 && inherited.length === 0) return [];
  // A POSIX shell takes one digit before `>&-`; bash takes any number.
  const needsBash = inherited.some((fd) => fd > 9);
  const bash = needsBash ? ['/bin/bash', '/usr/bin/bash'].find((path) => existsSync(path)) : undefined;
  if (needsBash && bash === undefined) {
    throw new HostError(
      'SANDBOX_UNAVAILABLE',
      `the host inherited open descriptors (${inherited.join(', ')}) that it cannot keep from a module without bash: install bash, or start the host without them`,
    );
  }
  const script = [JOIN_SCRIPT, ...inherited.map((fd) => `exec ${fd}>&-`), 'exec "$@"'].join('\n');
  return [bash ?? 'sh', '-c', script, word, String(joinFiles.length), ...joinFiles];
}
