import { HostError } from '../../contract/error.js';

/** What is stored is not what was written. */
export function corrupt(what: string, cause?: unknown): HostError {
  return new HostError('DATA_CORRUPT', `the storage is damaged: ${what}`, cause === undefined ? {} : { cause });
}

/** How the engine ends when the files themselves are wrong, and not the disk or the moment; before it stand paths. */
const DAMAGE = /(no such file or directory|invalid argument|\(create_if_missing is false\))$/i;
const NO_SPACE = /(no space left on device|disk quota exceeded)$/i;
/** Codes of a disk that has no room: ENOSPC, and EDQUOT of a user's share. */
const NO_SPACE_CODES: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

/** Any failure of engine or files by its reason: DATA_CORRUPT, DISK_FULL, READ_ONLY or INTERNAL. */
export function storageFailure(error: unknown): HostError {
  if (error instanceof HostError) return error;
  const chain = causes(error);
  const codes = chain.map(({ code }) => code);
  const says = (what: RegExp): boolean => chain.some(({ message }) => what.test(message));
  if (says(NO_SPACE) || codes.some((code) => NO_SPACE_CODES.has(code))) {
    return new HostError('DISK_FULL', 'no room is left on the disk of the storage; reads go on', { cause: error });
  }
  if (codes.includes('LEVEL_LOCKED')) {
    return new HostError('READ_ONLY', 'another program holds the storage', { cause: error });
  }
  if (codes.includes('LEVEL_CORRUPTION') || (codes.some(isOfEngine) && says(DAMAGE))) {
    return corrupt('the engine cannot read its files', error);
  }
  return HostError.from(error);
}

function isOfEngine(code: unknown): boolean {
  return typeof code === 'string' && code.startsWith('LEVEL_');
}

/** An error and what caused it, the outermost first. */
function causes(error: unknown): { message: string; code: unknown }[] {
  const chain: { message: string; code: unknown }[] = [];
  let next = error;
  while (next instanceof Error && chain.length < 8) {
    chain.push({ message: next.message, code: (next as NodeJS.ErrnoException).code });
    next = next.cause;
  }
  return chain;
}
