import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import type { ConfinedCommand } from './engine.js';
import { FIRST_MODULE_UID } from './identity.js';
import { LANDLOCK_VERSION } from './landlock-launcher.js';
import { SYSTEM_PATH } from './launch-chain.js';
import { readText } from './proc.js';

/** What a short command printed and how it ended. */
export interface RunAnswer {
  /** Exit code; null when a signal ended it or it did not start. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end, bounded in time and output; handed in, because this room starts no processes. Never rejects. */
export type RunOnce = (command: ConfinedCommand) => Promise<RunAnswer>;

/** Something that this machine can do, or why not and what to do about it. */
export type Ability =
  | { readonly works: true; readonly path: string }
  | { readonly works: false; readonly reason: string; readonly cure: string };

/** What this machine can do to confine a process. */
export interface SandboxProbe {
  /** bubblewrap is there and ran a program in a namespace. */
  readonly bubblewrap: Ability;
  /** prlimit and setpriv are there. */
  readonly tools: Ability;
  /** The host may run a process as a user of its own. */
  readonly ownUsers: Ability;
  /** Python 3 is there and the kernel has Landlock: confinement without namespaces. */
  readonly landlock: LandlockAbility;
}

/** Landlock of this kernel, and the program that asks for it. */
export type LandlockAbility =
  | { readonly works: true /** Python 3. */; readonly path: string /** Version, 1 or more. */; readonly abi: number }
  | { readonly works: false; readonly reason: string; readonly cure: string };

/** Finds out by trying: a version says little, since distributions, containers and sysctls all can forbid namespaces. */
export async function probeSandbox(run: RunOnce): Promise<SandboxProbe> {
  const tools = findTools();
  const [bubblewrap, ownUsers, landlock] = await Promise.all([
    tryBubblewrap(run),
    tryUsers(run, tools),
    tryLandlock(run),
  ]);
  return { bubblewrap, tools, ownUsers, landlock };
}

async function tryBubblewrap(run: RunOnce): Promise<Ability> {
  if (process.platform !== 'linux') {
    return {
      works: false,
      reason: `bubblewrap needs Linux, this is ${process.platform}`,
      cure: 'run the host on Linux',
    };
  }
  const path = findProgram('bwrap');
  if (path === undefined) {
    return { works: false, reason: 'bubblewrap (bwrap) is not installed', cure: 'apt install bubblewrap' };
  }
  const args = [
    '--ro-bind',
    '/',
    '/',
    '--proc',
    '/proc',
    '--unshare-user',
    '--disable-userns',
    '--unshare-pid',
    '--unshare-net',
  ];
  const answer = await run(
    plain(path, [...args, '--size', '4096', '--tmpfs', '/tmp', '--', '/bin/sh', '-c', 'echo confined']),
  );
  if (answer.code === 0 && answer.stdout.trim() === 'confined') return { works: true, path };
  const [reason = ''] = answer.stderr.trim().split('\n');
  return { works: false, reason: reason || `bubblewrap ended with ${answer.code}`, cure: cureOf(reason) };
}

async function tryLandlock(run: RunOnce): Promise<LandlockAbility> {
  const path = findProgram('python3');
  if (path === undefined) {
    const cure = 'apt install python3';
    return { works: false, reason: 'Landlock needs python3, which is not installed', cure };
  }
  const { stdout, stderr } = await run(plain(path, ['-I', '-S', '-c', LANDLOCK_VERSION]));
  const abi = Number(/^[0-9]+$/m.exec(stdout)?.[0] ?? 0);
  if (abi >= 1) return { works: true, path, abi };
  return {
    works: false,
    reason: stderr.trim().split('\n').at(-1) || 'the kernel has no Landlock, or it is switched off',
    cure: 'boot a kernel of version 5.13 or newer with `landlock` in its parameter `lsm=`',
  };
}

function cureOf(reason: string): string {
  if (/unknown option/i.test(reason)) return 'install bubblewrap 0.8 or newer';
  if (/mount proc/i.test(reason)) {
    // A process file system with covered parts cannot be mounted anew in a user namespace (mount_namespaces(7)).
    return 'let the container show all of /proc (Docker: --security-opt systempaths=unconfined)';
  }
  if (readText('/proc/sys/kernel/apparmor_restrict_unprivileged_userns')?.trim() === '1') {
    return 'allow user namespaces to bwrap: an AppArmor profile with `userns`, or sysctl kernel.apparmor_restrict_unprivileged_userns=0';
  }
  if (/namespace|uid map|not permitted|permission denied/i.test(reason)) {
    return 'allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 and user.max_user_namespaces above 0; in a container, a seccomp profile that permits them';
  }
  return "run `bwrap --ro-bind / / true` as the host's user to see what it lacks";
}

function findTools(): Ability {
  const missing = ['prlimit', 'setpriv'].filter((name) => findProgram(name) === undefined);
  const [path] = [findProgram('setpriv')];
  return missing.length === 0 && path !== undefined
    ? { works: true, path }
    : { works: false, reason: `${missing.join(' and ')} not installed`, cure: 'apt install util-linux' };
}

async function tryUsers(run: RunOnce, tools: Ability): Promise<Ability> {
  if (process.getuid?.() !== 0) {
    return {
      works: false,
      reason: 'the host is not root',
      cure: 'run the host as root, or accept one user for all modules',
    };
  }
  if (!tools.works) return tools;
  const user = String(FIRST_MODULE_UID);
  const answer = await run(
    plain(tools.path, ['--reuid', user, '--regid', user, '--clear-groups', '--', '/bin/sh', '-c', 'id -u']),
  );
  if (answer.code === 0 && answer.stdout.trim() === user) return { works: true, path: tools.path };
  return {
    works: false,
    reason: `root cannot become user ${user} here: ${answer.stderr.trim().split('\n')[0] ?? ''}`,
    cure: 'run the host outside of a user namespace, or in one that maps this user',
  };
}

/** Absolute path of a system program, or undefined. */
export function findProgram(name: string): string | undefined {
  return SYSTEM_PATH.split(':')
    .map((dir) => join(dir, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

function plain(file: string, args: readonly string[]): ConfinedCommand {
  return {
    file,
    args,
    env: { PATH: SYSTEM_PATH },
    cwd: '/',
    inputs: new Map(),
    nested: false,
    gate: undefined,
  };
}
