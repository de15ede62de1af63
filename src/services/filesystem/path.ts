import { HostError } from '../../contract/error.js';

/** Longest path, bytes of UTF-8. @see filesystem.proto */
export const MAX_PATH_BYTES = 1_024;
/** Longest part of a path, bytes: what every Linux file system takes. @see filesystem.proto */
export const MAX_PART_BYTES = 255;
/** Parts of a path at most: as deep as the meter of the module's usage looks, so that nothing lies where it is not counted. */
export const MAX_PARTS = 64;
/** Directory for writes in flight where the data directory is a file system of its own; no path may name it. */
export const STAGING_NAME = '.modhost-staging';

/**
 * Parts of a path below the data directory; none for the directory itself. `%2e%2e` and the like are ordinary names:
 * nothing is decoded.
 *
 * @throws PATH_ESCAPE when it breaks a rule
 */
export function parsePath(path: string): readonly string[] {
  if (path === '') return [];
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw outside(`has more than ${MAX_PATH_BYTES} bytes`);
  if (!path.isWellFormed()) throw outside('is no UTF-8');
  if (path.includes('\0')) throw outside('holds a NUL');
  if (path.includes('\\')) throw outside('holds a backslash');
  if (path.startsWith('/')) throw outside('is absolute');
  const parts = path.split('/');
  if (parts.length > MAX_PARTS) throw outside(`has more than ${MAX_PARTS} parts`);
  for (const part of parts) {
    if (part === '') throw outside('has an empty part');
    if (part === '.' || part === '..') throw outside(`has the part ${part}`);
    if (Buffer.byteLength(part) > MAX_PART_BYTES) throw outside(`has a part of more than ${MAX_PART_BYTES} bytes`);
  }
  if (parts[0] === STAGING_NAME) throw outside(`begins with ${STAGING_NAME}, which belongs to the host`);
  return parts;
}

/** Where something lies: the parts of its directory, and its name there. */
export interface Spot {
  readonly path: string;
  readonly above: readonly string[];
  readonly name: string;
}

/**
 * A path that names something below the data directory.
 *
 * @throws PATH_ESCAPE when it breaks a rule, INVALID_REQUEST when it is empty
 */
export function parseSpot(path: string): Spot {
  const parts = parsePath(path);
  const name = parts.at(-1);
  if (name === undefined) throw new HostError('INVALID_REQUEST', 'the empty path is the data directory itself');
  return { path, above: parts.slice(0, -1), name };
}

function outside(what: string): HostError {
  return new HostError('PATH_ESCAPE', `the path ${what}`);
}
