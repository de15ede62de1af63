import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type ErrorReason, HostError } from '../contract/error.js';

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
 * @throws HostError UNSAFE_RUN_DIR, or the reason given, when it is a link, no directory, foreign or writable by others
 */
export function prepareDirectory(path: string, mode: number, unsafe: ErrorReason = 'UNSAFE_RUN_DIR'): void {
  // whatever the umask leaves of the mode: a narrower one would lock modules of other uids out
  if (makeDirectory(path, mode, unsafe) !== undefined) chmodSync(path, mode);
  const found = lstatSync(path);
  const problem = !found.isDirectory()
    ? 'is no directory'
    : process.getuid !== undefined && found.uid !== process.getuid()
      ? 'belongs to another user'
      : (found.mode & 0o022) !== 0
        ? 'can be written by others'
        : undefined;
  if (problem !== undefined) {
    throw new HostError(unsafe, `${path} ${problem}; give the host a directory of its own`);
  }
}

/** Removes everything in a directory, links themselves and not what they lead to; the directory stays the same one. */
export function emptyDirectory(path: string): void {
  for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true });
}

function makeDirectory(path: string, mode: number, unsafe: ErrorReason): string | undefined {
  try {
    return mkdirSync(path, { recursive: true, mode });
  } catch (cause) {
    throw new HostError(unsafe, `${path} cannot be made a directory: ${(cause as Error).message}`, { cause });
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
    // anything else, a full backlog for one, is a host that lives
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
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
    const fail = (cause: NodeJS.ErrnoException): void => {
      const reason = cause.code === 'EADDRINUSE' ? 'ALREADY_RUNNING' : 'UNSAFE_RUN_DIR';
      reject(new HostError(reason, `cannot listen on ${path}: ${cause.message}`, { cause }));
    };
    server.once('error', fail);
    server.listen(path, () => {
      server.off('error', fail);
      resolve();
    });
  });
  chmodSync(path, 0o600);
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid);
}

/** A socket that listens already; who connects waits until somebody answers. */
export interface ReservedSocket {
  /** Hands every connection over, those that wait first. */
  answer(onConnection: (socket: Socket) => void): void;
  /** Ends the listening and removes the socket; resolves when the last connection has closed. */
  close(): Promise<void>;
}

/**
 * Takes a socket's path before there is anybody to answer: whoever has it is the one host of its directory.
 *
 * @throws HostError ALREADY_RUNNING, UNSAFE_RUN_DIR, SOCKET_PATH_TOO_LONG
 */
export async function reserveSocket(path: string, maxConnections: number): Promise<ReservedSocket> {
  assertSocketPath(path);
  await clearStaleSocket(path);
  let answered: ((socket: Socket) => void) | undefined;
  const waiting = new Set<Socket>();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (answered !== undefined) return answered(socket);
    waiting.add(socket);
    socket.once('close', () => waiting.delete(socket));
  });
  server.maxConnections = maxConnections;
  await listenUnix(server, path);
  // an accept that fails for want of descriptors must not end the host; the next one may work
  server.on('error', () => {});
  return {
    answer(onConnection) {
      answered = onConnection;
      for (const socket of waiting) onConnection(socket);
      waiting.clear();
    },
    close() {
      for (const socket of waiting) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
