import { readFile } from 'node:fs/promises';
import { HostError } from '../contract/error.js';
import { replaceFile } from '../core/replace-file.js';
import type { ModuleIdentity } from './engine.js';

/**
 * First user id given to a module. Above every range that distributions, systemd and container runtimes hand out (the
 * highest ends at 1,879,048,191), below 2^31, which some programs read as negative.
 */
export const FIRST_MODULE_UID = 2_000_000_000;

/** How many modules can have a user of their own. */
export const MODULE_UIDS = 100_000;

/** Which module has which user. A number is never given to a second name: files of a removed module may still bear it. */
export interface IdentityBook {
  /**
   * The user of a module, the same for ever.
   *
   * @throws HostError DATA_CORRUPT when the book cannot be read, QUOTA_EXCEEDED when all numbers are given
   */
  identityOf(name: string): Promise<ModuleIdentity>;
}

/**
 * Opens the book in the host's data directory. Only the host that holds the directory's lock may use it.
 *
 * @param path     the file, one JSON object of name to number; absent = empty
 * @param firstUid start of the range, for machines whose user namespace does not map the default one
 */
export function createIdentityBook(path: string, firstUid: number = FIRST_MODULE_UID): IdentityBook {
  let turn: Promise<unknown> = Promise.resolve();
  return {
    identityOf(name) {
      const answer = turn.then(() => assign(path, firstUid, name));
      // One after the other: two modules that start at once must not get one number.
      turn = answer.catch(() => undefined);
      return answer;
    },
  };
}

async function assign(path: string, firstUid: number, name: string): Promise<ModuleIdentity> {
  const book = await read(path);
  const known = book.get(name);
  if (known !== undefined) return { uid: known, gid: known };
  const taken = new Set(book.values());
  let uid = firstUid;
  while (taken.has(uid)) uid += 1;
  if (uid >= firstUid + MODULE_UIDS) throw new HostError('QUOTA_EXCEEDED', 'every user id for modules is given');
  const next = new Map([...book, [name, uid]]);
  await replaceFile(path, `${JSON.stringify(Object.fromEntries(next), undefined, 2)}\n`);
  return { uid, gid: uid };
}

async function read(path: string): Promise<Map<string, number>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw error;
  }
  const corrupt = (cause?: unknown): HostError =>
    new HostError('DATA_CORRUPT', `${path} does not hold the user ids of modules; restore it`, { cause });
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw corrupt();
    const book = new Map<string, number>();
    for (const [name, uid] of Object.entries(parsed)) {
      // 0 would hand root to a module; a number twice would let two modules read each other's files.
      if (!Number.isSafeInteger(uid) || (uid as number) < 1000 || [...book.values()].includes(uid as number))
        throw corrupt();
      book.set(name, uid as number);
    }
    return book;
  } catch (error) {
    throw error instanceof HostError ? error : corrupt(error);
  }
}
