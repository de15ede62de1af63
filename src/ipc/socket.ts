import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { HostError } from '../contract/error.js';

/**
 * Longest path of a Unix socket. The kernel's limit is 107 bytes on Linux and 103 on macOS, and Node 20 and 22 bind a
 * longer path at a truncated one without a word, so longer paths are refused first.
 */
export const MAX_SOCKET_PATH_BYTES = 103;

/** Owner of a file that the host makes for a module. */
export interface Owner {
  uid: number;
  gid: number;
}

/** @throws HostError SOCKET_PATH_TOO_LONG */
export function assertSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new HostError(
      'SOCKET_PATH_TOO_LONG',
      `the socket path has ${bytes} bytes, at most ${MAX_SOCKET_PATH_BYTES} work everywhere; choose a shorter socket_dir`,
      { details: { bytes, max: MAX_SOCKET_PATH_BYTES } },
    );
  }
}

/**
 * Makes a directory that only its owner can write, or checks that the one there is such.
 *
 * @param mode 0711 for parents that modules of other uids pass through, 0700 for the rest
 * @throws HostError UNSAFE_RUN_DIR when it is a link, no directory, foreign or writable by others
 */
export function prepareDirectory(path: string, mode: number): void {
  mkdirSync(path, { recursive: true, mode });
  const found = lstatSync(path);
  const problem = !found.isDirectory()
    ? 'is no directory'
    : process.getuid !== undefined && found.uid !== process.getuid()
      ? 'belongs to another user'
      : (found.mode & 0o022) !== 0
        ? 'can be written by others'
        : undefined;
  if (problem !== undefined) {
    throw new HostError('UNSAFE_RUN_DIR', `${path} ${problem}; give the host a directory of its own`);
  }
}

/**
 * Removes the socket that a dead host left behind.
 *
 * @throws HostError ALREADY_RUNNING when somebody answers there, UNSAFE_RUN_DIR when the path is no socket
 */
export async function clearStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new HostError('UNSAFE_RUN_DIR', `${path} is there and is no socket; remove it by hand`);
  const live = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (live) throw new HostError('ALREADY_RUNNING', `a host listens on ${path}`);
  rmSync(path, { force: true });
}

/**
 * Listens on a Unix socket of mode 0600. Call it for a path inside a 0700 directory: between bind and chmod the socket
 * has the umask's mode, and the directory is what keeps others out.
 */
export async function listenUnix(server: Server, path: string, owner?: Owner): Promise<void> {
  assertSocketPath(path);
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(new HostError('UNSAFE_RUN_DIR', `cannot listen on ${path}: ${cause.message}`, { cause }));
    server.once('error', fail);
    server.listen(path, () => {
      server.off('error', fail);
      resolve();
    });
  });
  chmodSync(path, 0o600);
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
}
