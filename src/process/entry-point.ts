import { constants } from 'node:fs';
import { access, lstat, open } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from '../contract/error.js';
import type { ModuleIdentity } from '../sandbox/engine.js';

/** Bytes of a program that tell what it is: an ELF header up to its machine, or a script's first line. */
const HEAD_BYTES = 256;

/** `e_machine` of the ELF header by Node's name of the architecture (System V ABI, and its supplements). */
const ELF_MACHINES: ReadonlyMap<string, number> = new Map([
  ['x64', 62],
  ['arm64', 183],
  ['arm', 40],
  ['ia32', 3],
  ['riscv64', 243],
  ['ppc64', 21],
  ['s390x', 22],
  ['loong64', 258],
]);

/**
 * Refuses an entry point that cannot be executed, in words that help, before a sandbox says it in its own.
 *
 * @param codeDir  the module's directory, free of links
 * @param path     the manifest's entry point
 * @param identity user that will execute it; undefined = the host's own
 * @throws         HostError BAD_ENTRY_POINT (not there, a link, no file, empty, not executable), START_FAILED with
 *                 `errno` in details (ENOEXEC for another machine's program, ENOENT for a script's interpreter)
 */
export async function assertExecutable(
  codeDir: string,
  path: string,
  identity: ModuleIdentity | undefined,
): Promise<void> {
  const refuse = (text: string, cause?: unknown): never => {
    throw new HostError('BAD_ENTRY_POINT', `entry point ${path} ${text}`, { details: { entryPoint: path }, cause });
  };
  let place = codeDir;
  for (const part of path.split('/')) {
    place = join(place, part);
    const found = await lstat(place).catch((cause: unknown) => refuse('is not there', cause));
    if (found.isSymbolicLink()) refuse('passes a link');
  }
  const found = await lstat(place);
  if (!found.isFile()) refuse('is no file');
  if (found.size === 0) refuse('is empty');
  const bits =
    identity === undefined ? 0o111 : found.uid === identity.uid ? 0o100 : found.gid === identity.gid ? 0o010 : 0o001;
  if ((found.mode & bits) === 0) refuse(`is not executable: chmod ${identity ? 'a' : ''}+x ${path}`);
  await assertRunnable(path, await readHead(place));
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function assertRunnable(path: string, head: Buffer): Promise<void> {
  const refuse = (errno: string, text: string): never => {
    throw new HostError('START_FAILED', `${path}: ${errno}: ${text}`, { details: { entryPoint: path, errno } });
  };
  if (head.toString('latin1', 0, 2) === '#!') {
    const interpreter = head.toString('utf8', 2).split('\n')[0]?.trim().split(/\s+/)[0] ?? '';
    if (interpreter === '') refuse('ENOEXEC', 'its first line names no interpreter');
    // Only what the sandbox shows of the system is judged; a path of the module's own is the module's affair.
    if (/^\/(?:usr|bin|sbin)\//.test(interpreter)) {
      await access(interpreter, constants.X_OK).catch(() =>
        refuse('ENOENT', `its interpreter ${interpreter} is not there`),
      );
    }
    return;
  }
  if (head.toString('latin1', 0, 4) !== '\x7fELF' || head.length < 20) {
    refuse(
      'ENOEXEC',
      'it is neither an ELF program nor a script that begins with #!; for an interpreter use [run] command',
    );
  }
  const machine = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18);
  const expected = ELF_MACHINES.get(process.arch);
  if (expected !== undefined && machine !== expected) {
    const built = [...ELF_MACHINES].find(([, number]) => number === machine)?.[0] ?? `ELF machine ${machine}`;
    refuse('ENOEXEC', `it is built for ${built}, this machine is ${process.arch}`);
  }
}
