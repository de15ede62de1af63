import { type ChildProcess, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { HostError } from '../contract/error.js';
import { SYSTEM_PATH, tiedTo } from '../sandbox/launch-chain.js';
import { findProgram } from '../sandbox/probe.js';

/** Heap of the program in the namespace, MiB: it holds handles and the bytes that pass. */
const HEAP_MB = 64;

/** What network grants need beyond the sandbox, and the package that brings it. */
const TOOLS: readonly (readonly [name: string, pkg: string])[] = [
  ['unshare', 'util-linux'],
  ['nsenter', 'util-linux'],
  ['setpriv', 'util-linux'],
  ['ip', 'iproute2'],
];

/**
 * Sees to it that this machine has what network grants need.
 *
 * @throws HostError NETWORK_UNAVAILABLE naming the packages
 */
export function assertNetworkTools(moduleName: string, find: (name: string) => string | undefined = findProgram): void {
  const missing = TOOLS.filter(([name]) => find(name) === undefined);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(([, pkg]) => pkg))];
  throw new HostError(
    'NETWORK_UNAVAILABLE',
    `${moduleName} has network grants, but ${missing.map(([name]) => name).join(' and ')} is not here: apt install ${packages.join(' ')}`,
    { details: { packages: packages.join(' ') } },
  );
}

/** A network namespace, and how to be sure that it is still that one. */
export interface Namespace {
  /** A process in it, whose number is good as long as the caller holds that process. */
  readonly pid: number;
  /** As `/proc/PID/ns/net` names it. */
  readonly name: string;
}

/**
 * The network namespace of a sandbox that stands at its gate.
 *
 * @throws HostError NETWORK_UNAVAILABLE when the process is gone, or has the host's own network
 */
export function namespaceOf(pid: number): Namespace {
  const name = linkOf(`/proc/${pid}/ns/net`);
  if (name === undefined || name === linkOf('/proc/self/ns/net')) {
    throw new HostError('NETWORK_UNAVAILABLE', 'the sandbox has no network namespace of its own');
  }
  return { pid, name };
}

/**
 * Starts the host's own program in a module's network namespace: with the host's user, without any privilege, and bound
 * to the host's life. It sees the host's files; what reaches it from the module are bytes that it passes on.
 */
export function spawnInNamespace({ pid }: Namespace): ChildProcess {
  const isRoot = process.getuid?.() === 0;
  // Without root the namespace belongs to a user namespace of the sandbox, in which alone it may be entered.
  const user = isRoot ? [] : ['--preserve-credentials', `--user=/proc/${pid}/ns/user`];
  const enter = ['nsenter', ...user, `--net=/proc/${pid}/ns/net`];
  // Entering a user namespace gives privileges and clears the death signal, so both are seen to afterwards.
  const drop = ['setpriv', '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all', '--pdeathsig', 'KILL', '--'];
  const [file = '', ...args] = [
    ...enter,
    ...drop,
    ...tiedTo(process.pid, 'modhost-network'),
    ...[process.execPath, `--max-old-space-size=${HEAP_MB}`, ...programWords()],
  ];
  return spawn(file, args, {
    cwd: '/',
    env: { PATH: SYSTEM_PATH },
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
}

/** The program's file, built or as source; a source needs the loader that the host itself runs by. */
function programWords(): string[] {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const file = fileURLToPath(new URL(`./net-program.${extension}`, import.meta.url));
  if (extension === 'js') return [file];
  return ['--import', createRequire(import.meta.url).resolve('tsx'), file];
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
