import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { HostError } from '../contract/error.js';
import type { SecretSource } from '../manifest/operator-schema.js';

/** Largest secret, bytes: as much as a configuration value may have. */
export const MAX_SECRET_BYTES = 64 * 1024;
/** Permission bits of others, and the group's to write: who has them could read or choose the secret. */
const UNSAFE_MODE = 0o027;

/** Why a secret cannot be read, in the words of `HostError.details.cause`. */
export type SecretTrouble = 'absent' | 'unreadable' | 'unsafe' | 'malformed';

/**
 * Reads one secret: text without the one line end that editors leave behind it.
 *
 * A file is a regular file, a link to one included, that belongs to root or to the host's own user and that nobody else can
 * read or change. What is judged is what was opened, so nothing can be put in its place meanwhile.
 *
 * @param where the key that it is for, as messages name it
 * @throws HostError BAD_CONFIG with the trouble as `details.cause`; never with a part of the secret
 */
export function readSecret(source: SecretSource, env: NodeJS.ProcessEnv, where: string): string {
  const fail = (cause: SecretTrouble, text: string): never => {
    throw new HostError('BAD_CONFIG', `${where}: ${text}`, { details: { path: where, cause } });
  };
  const text = 'env' in source ? env[source.env] : readFile(source.file, fail);
  if (text === undefined) return fail('absent', `the environment of the host has no ${named(source)}`);
  if (Buffer.byteLength(text) > MAX_SECRET_BYTES) {
    return fail('malformed', `${named(source)} holds more than ${MAX_SECRET_BYTES} bytes`);
  }
  const secret = text.replace(/\r?\n$/, '');
  return secret === '' ? fail('malformed', `${named(source)} is empty`) : secret;
}

function named(source: SecretSource): string {
  return 'env' in source ? source.env : source.file;
}

type Fail = (cause: SecretTrouble, text: string) => never;

function readFile(path: string, fail: Fail): string {
  const descriptor = open(path, fail);
  try {
    const { uid, mode, isRegular } = facts(descriptor);
    if (!isRegular) return fail('unsafe', `${path} is no regular file`);
    const own = process.geteuid?.() ?? 0;
    if (uid !== 0 && uid !== own)
      return fail('unsafe', `${path} belongs to uid ${uid}: chown it to uid ${own} or root`);
    if ((mode & UNSAFE_MODE) !== 0) return fail('unsafe', `others can read or change ${path}: chmod 600 ${path}`);
    const bytes = readBounded(descriptor);
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (error instanceof HostError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    return fail('malformed', code?.startsWith('E') ? `${path} cannot be read: ${code}` : `${path} is no UTF-8 text`);
  } finally {
    closeSync(descriptor);
  }
}

function open(path: string, fail: Fail): number {
  try {
    // without blocking: a FIFO under the name must not hold the host
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
    return fail(code === 'ENOENT' ? 'absent' : 'unreadable', `${path} cannot be opened: ${code}`);
  }
}

function facts(descriptor: number): { uid: number; mode: number; isRegular: boolean } {
  const stat = fstatSync(descriptor);
  return { uid: stat.uid, mode: stat.mode, isRegular: stat.isFile() };
}

/** All of a file, or one byte more than is allowed of a larger one. */
function readBounded(descriptor: number): Buffer {
  const bytes = Buffer.alloc(MAX_SECRET_BYTES + 1);
  let length = 0;
  for (;;) {
    const got = readSync(descriptor, bytes, length, bytes.length - length, null);
    length += got;
    if (got === 0 || length === bytes.length) return bytes.subarray(0, length);
  }
}
