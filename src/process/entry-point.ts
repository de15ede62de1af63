import { constants, type Stats } from 'node:fs';
import { access, lstat, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HostError } from '../contract/error.js';
import type { ModuleIdentity } from '../sandbox/engine.js';
import { type Cause, refuseProgram } from './diagnose.js';
import { mountOf } from './mount-flags.js';
import { isNative, type ProgramHead, readProgramHead } from './program-head.js';

/** Where a module's program is looked at. */
export interface ProgramPlace {
  /** The module's directory on the host, free of links. */
  readonly codeDir: string;
  /** The same as the module sees it. */
  readonly seenAs: string;
  /** The manifest's entry point. */
  readonly path: string;
  /** User that will execute it; undefined = the host's own. */
  readonly identity: ModuleIdentity | undefined;
  /** More of the host's paths that the module sees. */
  readonly extraReadOnly: readonly string[];
}

/** Parts of the system that a confined module sees, loaders and interpreters among them. */
const SEEN_OF_SYSTEM = /^\/(?:usr|bin|sbin|lib\w*|nix\/store)\//;

/**
 * Refuses an entry point that cannot be executed, in words that help, before a sandbox says it in its own.
 *
 * @throws HostError BAD_ENTRY_POINT (not there, a link, no file, empty, not executable), START_FAILED (another machine's or
 *   system's program, a missing interpreter or loader, no right on the way); `details` has `cause`, and `errno` where the
 *   kernel would have said so
 */
export async function assertExecutable(place: ProgramPlace): Promise<void> {
  const { codeDir, path, identity } = place;
  const refuse = (text: string, cause: Cause, thrown?: unknown): never => {
    throw new HostError('BAD_ENTRY_POINT', `entry point ${path} ${text}`, {
      details: { entryPoint: path, cause },
      cause: thrown,
    });
  };
  let file = codeDir;
  for (const part of path.split('/')) {
    file = join(file, part);
    const found = await lstat(file).catch((thrown: unknown) => refuse('is not there', 'no-program', thrown));
    if (found.isSymbolicLink()) refuse('passes a link', 'no-program');
  }
  const found = await lstat(file);
  if (!found.isFile()) refuse('is no file', 'no-program');
  if (found.size === 0) refuse('is empty', 'no-program');
  if (!may(found, identity, EXECUTE)) {
    refuse(`is not executable: chmod ${identity ? 'a' : ''}+x ${path}`, 'not-executable');
  }
  await assertSearchable(place, file);
  await assertMountExecutes(place, file);
  // a file that the host's user may not read is for the kernel to judge
  const head = await readProgramHead(file).catch(() => undefined);
  if (head !== undefined) await assertRunnable(place, found, head);
}

const EXECUTE = 1;
const READ = 4;

/** True when the user has the right, `EXECUTE` or `READ`, by the mode of the file; root passes where the host starts it as itself. */
function may(found: Stats, identity: ModuleIdentity | undefined, right: number): boolean {
  if (identity === undefined) return right === READ || (found.mode & (right * 0o111)) !== 0;
  const shift = found.uid === identity.uid ? 6 : found.gid === identity.gid ? 3 : 0;
  return (found.mode & (right << shift)) !== 0;
}

/** The directory itself and what is above it are the engine's to judge; what is between it and the program is the module's. */
async function assertSearchable({ codeDir, path, identity }: ProgramPlace, file: string): Promise<void> {
  for (let dir = dirname(file); dir !== codeDir && dir.length > codeDir.length; dir = dirname(dir)) {
    if (may(await lstat(dir), identity, EXECUTE)) continue;
    const shown = dir.slice(codeDir.length + 1);
    throw refuseProgram(
      path,
      'unsearchable-parent',
      'EACCES',
      `user ${identity?.uid ?? 'of the host'} may not pass the directory ${shown}: chmod -R a+X ${shown}`,
    );
  }
}

async function assertMountExecutes({ path }: ProgramPlace, file: string): Promise<void> {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const mount = mountOf(mountinfo, file);
  if (mount?.options.includes('noexec') !== true) return;
  throw refuseProgram(
    path,
    'noexec-mount',
    'EACCES',
    `the file system at ${mount.point} is mounted noexec: mount -o remount,exec ${mount.point}, or move the modules directory`,
  );
}

async function assertRunnable(place: ProgramPlace, found: Stats, head: ProgramHead): Promise<void> {
  const { path, identity } = place;
  switch (head.kind) {
    case 'script': {
      const { interpreter } = head;
      if (interpreter === '' || interpreter === '\r') {
        throw refuseProgram(path, 'interpreter-missing', 'ENOEXEC', 'its first line names no interpreter');
      }
      if (interpreter.endsWith('\r')) {
        throw refuseProgram(
          path,
          'interpreter-missing',
          'ENOENT',
          'its first line ends with a carriage return: save it with Unix line ends',
        );
      }
      if (!(await isSeen(place, interpreter))) {
        throw refuseProgram(
          path,
          'interpreter-missing',
          'ENOENT',
          `its interpreter ${interpreter} is not there in the module's view: install it below /usr, or use [run] command with one of the operator's [interpreters]`,
        );
      }
      if (!may(found, identity, READ)) {
        throw refuseProgram(path, 'not-readable', 'EACCES', `its interpreter cannot read it: chmod a+r ${path}`);
      }
      return;
    }
    case 'elf':
      if (!isNative(head.built)) {
        throw refuseProgram(
          path,
          'wrong-architecture',
          'ENOEXEC',
          `it is built for ${head.built}, this machine is ${process.arch}: install the build for ${process.arch}`,
        );
      }
      if (head.loader !== undefined && !(await isSeen(place, head.loader))) {
        const cure = head.loader.includes('musl')
          ? 'it is built for musl: install musl, or take the build for glibc or a static one'
          : 'take a build for this system, or a static one';
        throw refuseProgram(
          path,
          'loader-missing',
          'ENOENT',
          `its loader ${head.loader} is not there in the module's view; ${cure}`,
        );
      }
      return;
    case 'foreign':
      throw refuseProgram(path, 'foreign-program', 'ENOEXEC', `it is ${head.what}`);
    default:
      throw refuseProgram(
        path,
        'no-program',
        'ENOEXEC',
        'it is neither an ELF program nor a script that begins with #!; for an interpreter use [run] command',
      );
  }
}

/** True when the module will find this path. What it sees by ways that are not known here is left to the kernel. */
async function isSeen({ codeDir, seenAs, extraReadOnly }: ProgramPlace, path: string): Promise<boolean> {
  const isThere = (real: string): Promise<boolean> =>
    access(real, constants.F_OK).then(
      () => true,
      () => false,
    );
  if (!path.startsWith('/')) return true;
  if (path === seenAs || path.startsWith(`${seenAs}/`)) return isThere(join(codeDir, path.slice(seenAs.length)));
  const shown =
    seenAs === codeDir || SEEN_OF_SYSTEM.test(path) || extraReadOnly.some((dir) => `${path}/`.startsWith(`${dir}/`));
  return shown && isThere(path);
}
