import { lstatSync, readlinkSync } from 'node:fs';
import type { ModuleDirectories, SandboxNetwork } from './engine.js';

/** The private /tmp and /dev/shm live in memory; without a bound a module could fill the machine's. Bytes (16 MiB). */
const SCRATCH_BYTES = 16 * 1024 * 1024;

/** User inside the sandbox, whatever it is outside: a module cannot learn its number on the host. */
const INNER_ID = '1000';

/** Where a module sees its directories. */
export const INNER: ModuleDirectories = { code: '/module', data: '/data', socket: '/run/host' };

/** Where an interpreter that lies outside of /usr is shown. */
export const INNER_PROGRAMS = '/opt/modhost';

/** Links or directories of the root that programs and loaders expect; distributions differ in which is which. */
const ROOT_ENTRIES = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];

/**
 * The only files of /etc that a module sees: what the loader, TLS, time zones and Java need to start. Nothing in them is
 * about this machine's users, network or software.
 */
const ETC_ENTRIES = ['ld.so.cache', 'alternatives', 'ssl/certs', 'ca-certificates', 'pki/tls/certs', 'localtime'];
const JAVA_ETC = /^java-[0-9]+-openjdk$/;

/**
 * bubblewrap's own first process runs as the module's user: through `/proc/1/mem` the module could write its program into
 * it, take back the death signal that ends the sandbox with the host, and read descriptors, arguments and environment of
 * bubblewrap. An empty directory lies over it.
 */
const HIDDEN_FIRST_PROCESS = ['--size', '4096', '--tmpfs', '/proc/1', '--remount-ro', '/proc/1'];

/**
 * The settings of a namespace belong to whoever made it, which is the module's user: process numbers, message queues,
 * ports and routes of its own could be set. They can be read as before. The host's tree shows a reader the settings of
 * the reader's own namespaces.
 */
const READ_ONLY_SETTINGS = ['--ro-bind', '/proc/sys', '/proc/sys'];

/** One directory or file of the host, and where it is shown inside. */
export interface Bind {
  readonly source: string;
  readonly target: string;
}

/** What differs from spawn to spawn. */
export interface SandboxLayout {
  readonly code: string;
  readonly data: string;
  readonly socket: string;
  /** Directory with `passwd`, `group` and `hosts` that tell of one user and no network. */
  readonly etc: string;
  readonly readOnly: readonly Bind[];
  /** Variables of the first program inside. */
  readonly env: readonly (readonly [string, string])[];
  /** Descriptor with this spawn's own `/etc/hosts`; undefined = that of `etc`. */
  readonly hostsFd: number | undefined;
  /** Descriptor with the filter of system calls; undefined = none. */
  readonly seccompFd: number | undefined;
  /** True when the chain has made the network namespace; false = bubblewrap makes an empty one. */
  readonly network: boolean;
}

/**
 * Arguments of bubblewrap for an empty root with an allow-list in it. Order matters: mounts are made in the order given,
 * and the root is made read-only only after the last one.
 *
 * @param javaEtc names found in /etc, from which Java's configuration directories are taken
 * @see bwrap(1)
 */
export function bubblewrapArguments(layout: SandboxLayout, etcNames: readonly string[]): string[] {
  const args: string[] = [];
  const readOnly = (source: string, target: string): void => void args.push('--ro-bind', source, target);
  readOnly('/usr', '/usr');
  for (const path of ROOT_ENTRIES) args.push(...rootEntry(path));
  args.push('--ro-bind-try', '/nix/store', '/nix/store');
  for (const name of [...ETC_ENTRIES, ...etcNames.filter((name) => JAVA_ETC.test(name))]) {
    args.push('--ro-bind-try', `/etc/${name}`, `/etc/${name}`);
  }
  for (const name of ETC_FILES.keys()) {
    if (name !== 'hosts' || layout.hostsFd === undefined) readOnly(`${layout.etc}/${name}`, `/etc/${name}`);
    else args.push('--perms', '0444', '--ro-bind-data', String(layout.hostsFd), '/etc/hosts');
  }
  args.push('--proc', '/proc', ...HIDDEN_FIRST_PROCESS, ...READ_ONLY_SETTINGS, '--dev', '/dev');
  args.push('--size', String(SCRATCH_BYTES), '--tmpfs', '/dev/shm', '--remount-ro', '/dev');
  args.push('--size', String(SCRATCH_BYTES), '--tmpfs', '/tmp');
  for (const { source, target } of layout.readOnly) readOnly(source, target);
  readOnly(layout.code, INNER.code);
  args.push('--bind', layout.data, INNER.data);
  readOnly(layout.socket, INNER.socket);
  args.push('--remount-ro', '/');
  args.push('--unshare-user', '--disable-userns', '--unshare-ipc', '--unshare-pid', '--unshare-uts');
  if (!layout.network) args.push('--unshare-net');
  args.push('--unshare-cgroup-try', '--uid', INNER_ID, '--gid', INNER_ID, '--cap-drop', 'ALL');
  args.push('--die-with-parent', '--new-session', '--hostname', 'module', '--chdir', INNER.code, '--clearenv');
  for (const [name, value] of layout.env) args.push('--setenv', name, value);
  if (layout.seccompFd !== undefined) args.push('--seccomp', String(layout.seccompFd));
  return args;
}

/** What `/etc/hosts` begins with in every sandbox. */
const LOCAL_HOSTS = '127.0.0.1 localhost module\n::1 localhost\n';

/** The `/etc/hosts` of one spawn: names that the host answers for, besides the sandbox's own. */
export function hostsFile({ hosts }: SandboxNetwork): string {
  return LOCAL_HOSTS + hosts.map(({ address, name }) => `${address} ${name}\n`).join('');
}

/** The files of the sandbox's own /etc: without them `getpwuid` and `localhost` fail in ways that authors cannot explain. */
export const ETC_FILES: ReadonlyMap<string, string> = new Map([
  ['passwd', `module:x:${INNER_ID}:${INNER_ID}:module:${INNER.data}:/usr/sbin/nologin\n`],
  ['group', `module:x:${INNER_ID}:\n`],
  ['hosts', LOCAL_HOSTS],
  ['nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'],
]);

function rootEntry(path: string): string[] {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return [];
  return found.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path];
}
