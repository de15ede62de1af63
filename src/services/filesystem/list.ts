import { isUtf8 } from 'node:buffer';
import type { Dirent } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import type {
  FileMetadata,
  ListDirectoryRequest,
  ListDirectoryResponse,
} from '../../../gen/ts/modhost/v1/filesystem.js';
import { HostError } from '../../contract/error.js';
import { codeOf } from './fault.js';
import { inside, type Jail, type Opened } from './jail.js';
import { metadataOf } from './metadata.js';
import { MAX_PATH_BYTES, parsePath, STAGING_NAME } from './path.js';

/** Entries of a page when none are asked for. @see filesystem.proto */
const DEFAULT_PAGE = 200;
/** Most entries of a page. @see filesystem.proto */
export const MAX_PAGE = 1_000;
/** Names that one read of a directory brings; the loop turns between two reads. */
const NAMES_PER_READ = 256;
/** Entries that are asked for at one time, so that other users of the thread pool get their turn. */
const ENTRIES_AT_ONCE = 32;

/**
 * One page of a directory, by name. A directory has no order of its own, so the whole of it is read for each page, a few
 * names at a time, and of all that follow the token only the smallest are kept: memory holds two pages of names, however
 * many there are.
 *
 * @throws HostError as filesystem.proto lists
 */
export async function listDirectory(
  jail: Jail,
  request: ListDirectoryRequest,
  signal: AbortSignal,
): Promise<ListDirectoryResponse> {
  if (request.pageSize > MAX_PAGE) {
    throw new HostError('OUT_OF_RANGE', `page_size is ${request.pageSize}; it must be at most ${MAX_PAGE}`);
  }
  const size = request.pageSize === 0 ? DEFAULT_PAGE : request.pageSize;
  const after = parseToken(request.pageToken);
  const parts = parsePath(request.path);
  try {
    return await jail.within(parts, signal, async (directory) => {
      const found = await smallest(directory, size + 1, after, prefixOf(request.path), signal);
      const names = found.slice(0, size);
      const last = names.at(-1);
      return {
        entries: await describe(directory, names, prefixOf(request.path), signal),
        nextPageToken:
          found.length > size && last !== undefined ? Buffer.from(last, 'latin1').toString('base64url') : '',
      };
    });
  } catch (error) {
    if (error instanceof HostError && error.reason === 'NOT_FOUND') await assertNoFile(jail, parts, signal);
    throw error;
  }
}

/** A file where the directory should be is a broken call, not a missing directory. */
async function assertNoFile(jail: Jail, parts: readonly string[], signal: AbortSignal): Promise<void> {
  const name = parts.at(-1);
  if (name === undefined) return;
  await jail.within(parts.slice(0, -1), signal, async (directory) => {
    const there = await jail.glance(directory, name);
    if (there?.isFile()) throw new HostError('INVALID_REQUEST', 'a file is there, not a directory');
  });
}

function prefixOf(path: string): string {
  return path === '' ? '' : `${path}/`;
}

/** The name after which the page begins, one character a byte. @throws INVALID_REQUEST */
function parseToken(token: string): string {
  const bytes = Buffer.from(token, 'base64url');
  if (bytes.toString('base64url') !== token || bytes.includes(0x2f) || !isUtf8(bytes)) {
    throw new HostError('INVALID_REQUEST', 'page_token is none that the host gave');
  }
  return bytes.toString('latin1');
}

/** The first names after one, ascending byte by byte; as latin1, so that comparing characters compares bytes. */
async function smallest(
  directory: Opened,
  count: number,
  after: string,
  prefix: string,
  signal: AbortSignal,
): Promise<string[]> {
  let kept: string[] = [];
  let bound: string | undefined;
  const settle = (): void => {
    kept = kept.sort(byCharacter).slice(0, count);
    if (kept.length === count) bound = kept.at(-1);
  };
  // names may be any bytes, and Node must not look for a garbled one where the file system tells no kinds
  const options = { bufferSize: NAMES_PER_READ, encoding: 'buffer' as never };
  const stream = await opendir(`/proc/self/fd/${directory.handle.fd}`, options);
  const room = MAX_PATH_BYTES - Buffer.byteLength(prefix);
  for await (const entry of stream as unknown as AsyncIterable<Omit<Dirent, 'name'> & { name: Buffer }>) {
    signal.throwIfAborted();
    if (!entry.isFile() && !entry.isDirectory()) continue;
    const bytes = entry.name;
    if (!isNameable(bytes, room)) continue;
    const name = bytes.toString('latin1');
    if (name <= after || (bound !== undefined && name >= bound)) continue;
    if (prefix === '' && name === STAGING_NAME) continue;
    kept.push(name);
    if (kept.length >= 2 * count) settle();
  }
  settle();
  return kept;
}

/** Whether a path of the contract can name it: any other name would be told and could not be used. */
function isNameable(name: Buffer, room: number): boolean {
  return name.byteLength <= room && !name.includes(0x5c) && isUtf8(name);
}

function byCharacter(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What stands behind the names at this moment; what has another name too, or is gone or swapped, is left out. */
async function describe(
  directory: Opened,
  names: readonly string[],
  prefix: string,
  signal: AbortSignal,
): Promise<FileMetadata[]> {
  const entries: FileMetadata[] = [];
  for (let at = 0; at < names.length; at += ENTRIES_AT_ONCE) {
    signal.throwIfAborted();
    const some = names.slice(at, at + ENTRIES_AT_ONCE).map((name) => Buffer.from(name, 'latin1').toString('utf8'));
    const found = await Promise.all(some.map((name) => entryOf(directory, name, prefix)));
    for (const entry of found) if (entry !== undefined) entries.push(entry);
  }
  return entries;
}

async function entryOf(directory: Opened, name: string, prefix: string): Promise<FileMetadata | undefined> {
  try {
    const stats = await lstat(inside(directory, name), { bigint: true });
    const isOwn = stats.dev === directory.stats.dev && (stats.isDirectory() || (stats.isFile() && stats.nlink === 1n));
    return isOwn ? metadataOf(`${prefix}${name}`, stats) : undefined;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
