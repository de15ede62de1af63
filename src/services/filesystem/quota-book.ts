import { readFile } from 'node:fs/promises';
import { HostError } from '../../contract/error.js';
import { replaceFile } from '../../core/replace-file.js';
import { faultOf } from './fault.js';

/** Directories of one module with a quota of their own: each is measured apart. */
export const MAX_QUOTAS = 64;

/** The quotas of one module's top-level directories, kept where the module cannot reach them. */
export interface QuotaBook {
  /** @throws HostError DATA_CORRUPT when it cannot be read */
  load(): Promise<void>;
  /** Quota of a directory, bytes; undefined when it has none. */
  of(name: string): number | undefined;
  /** Names of those that have one, ascending byte by byte. */
  names(): string[];
  /** Sets or, with undefined, forgets a quota; durable when it resolves. @throws HostError QUOTA_EXCEEDED, DISK_FULL */
  set(name: string, bytes: number | undefined): Promise<void>;
}

/**
 * Makes the book of one module.
 *
 * @param path a file in a directory of the host's own: one JSON object of name to bytes; absent = empty
 */
export function createQuotaBook(path: string): QuotaBook {
  let quotas: ReadonlyMap<string, number> = new Map();
  let turn: Promise<unknown> = Promise.resolve();

  const change = async (name: string, bytes: number | undefined): Promise<void> => {
    const next = new Map(quotas);
    if (bytes === undefined) {
      if (!next.delete(name)) return;
    } else next.set(name, bytes);
    if (next.size > MAX_QUOTAS) {
      throw new HostError('QUOTA_EXCEEDED', `at most ${MAX_QUOTAS} directories can have a quota`);
    }
    await write(path, next);
    quotas = next;
  };

  return {
    async load() {
      quotas = await read(path);
    },
    of: (name) => quotas.get(name),
    names: () => [...quotas.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    set(name, bytes) {
      // one after the other: two changes at once must not lose one
      const changed = turn.then(() => change(name, bytes));
      turn = changed.catch(() => undefined);
      return changed;
    },
  };
}

async function read(path: string): Promise<ReadonlyMap<string, number>> {
  const corrupt = (cause?: unknown): HostError =>
    new HostError('DATA_CORRUPT', `${path} does not hold the quotas of a module; restore or remove it`, { cause });
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw corrupt(error);
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw corrupt(error);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw corrupt();
  const entries = Object.entries(parsed);
  if (entries.some(([, bytes]) => !Number.isSafeInteger(bytes) || (bytes as number) <= 0)) throw corrupt();
  return new Map(entries as [string, number][]);
}

async function write(path: string, quotas: ReadonlyMap<string, number>): Promise<void> {
  // fromEntries defines each key: a directory called __proto__ is a name like any other
  const text = `${JSON.stringify(Object.fromEntries(quotas))}\n`;
  await replaceFile(path, text).catch((error: unknown) => {
    throw faultOf(error);
  });
}
