import { existsSync } from 'node:fs';
import { HostError } from '../contract/error.js';
import type { ModuleIdentity } from './engine.js';
import type { ResourceLimits } from './limits.js';

/** Where the chain's own programs are looked for; never the host's PATH, which a service's caller may have set. */
export const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** Exit code of the chain when the host died before the chain could be tied to its life. */
export const EXIT_HOST_GONE = 125;

/** Processes of the sandbox itself that count against the module's user: bubblewrap outside and inside. */
const OWN_PROCESSES = 2;

/** What happens to a process before it becomes `command`. */
export interface ChainOptions {
  readonly limits: ResourceLimits;
  readonly identity: ModuleIdentity | undefined;
  /** Process id of the host; the chain ends when its parent is another one. */
  readonly hostPid: number;
  /** Descriptors that the chain needs; all others from 3 on that would be inherited are closed. */
  readonly inherited: readonly number[];
}

/**
 * A command that binds itself, exec after exec, so that the pid stays the same: stray descriptors closed, rlimits set,
 * the module's user taken on, its life tied to the host's thread, and the tie checked: a parent that died before
 * PR_SET_PDEATHSIG would leave an orphan.
 */
export function launchChain(options: ChainOptions, command: readonly string[]): string[] {
  return [
    ...closing(options.inherited),
    ...rlimits(options),
    ...setpriv(options.identity),
    ...['sh', '-c', `[ "$PPID" = "$0" ] || exit ${EXIT_HOST_GONE}; exec "$@"`, String(options.hostPid)],
    ...command,
  ];
}

function rlimits({ limits, identity }: ChainOptions): string[] {
  const { openFiles, pids } = limits;
  const flags = [`--nofile=${openFiles}:${openFiles}`, '--core=0:0'];
  // RLIMIT_NPROC counts all processes of a user: it says something about a module only where the module is the user.
  if (identity !== undefined) flags.push(`--nproc=${pids + OWN_PROCESSES}:${pids + OWN_PROCESSES}`);
  return ['prlimit', ...flags, '--'];
}

function setpriv(identity: ModuleIdentity | undefined): string[] {
  const user =
    identity === undefined ? [] : ['--reuid', String(identity.uid), '--regid', String(identity.gid), '--clear-groups'];
  // The death signal stands in the call that changes the user: a later change of user would clear it.
  return ['setpriv', ...user, '--pdeathsig', 'KILL', '--'];
}

function closing(descriptors: readonly number[]): string[] {
  if (descriptors.length === 0) return [];
  // A POSIX shell takes one digit before `>&-`; bash takes any number.
  const bash = ['/bin/bash', '/usr/bin/bash'].find((path) => existsSync(path));
  if (bash === undefined && descriptors.some((fd) => fd > 9)) {
    throw new HostError(
      'SANDBOX_UNAVAILABLE',
      `the host inherited open descriptors (${descriptors.join(', ')}) that it cannot keep from a module without bash: install bash, or start the host without them`,
    );
  }
  const script = `${descriptors.map((fd) => `exec ${fd}>&-`).join('; ')}; exec "$@"`;
  return [bash ?? 'sh', '-c', script, 'close'];
}
