/** Bounds of what one module may keep in its storage. The founding document's quota table; a test holds each. */

/** Most of keys and values over all trees of a module, MiB, unless its manifest asks for less. */
export const DEFAULT_STORAGE_MB = 256;
/** Most keys over all trees: what an open has to read stays a matter of seconds. */
export const MAX_STORAGE_KEYS = 1_000_000;
/** Most trees: the record of each is read and hashed at every commit. */
export const MAX_STORAGE_TREES = 64;
/** Longest key, bytes. */
export const MAX_KEY_BYTES = 1_024;
/** Longest value, bytes: far under the largest message. */
export const MAX_VALUE_BYTES = 1024 * 1024;
/** Most preconditions of one batch; each costs a read. */
export const MAX_PRECONDITIONS = 1_000;
/** Most operations of one batch: a block's worth of small entries fits, and a message of 4 MiB has no room for many more. */
export const MAX_OPERATIONS = 100_000;
/** Most ranges that one batch removes; each is held against all that the batch did before. */
export const MAX_RANGES = 16;
/** Most keys that the ranges of one batch remove: they are held in memory until the batch is written. */
export const MAX_RANGE_KEYS = 100_000;
/** Scans of one module that are open at once; each holds a snapshot. */
export const MAX_OPEN_SCANS = 8;
/** Writes of one module that wait for their turn; beyond, the module is told to slow down. */
export const MAX_QUEUED_WRITES = 256;
/** The same as bytes of keys and values: four full messages. */
export const MAX_QUEUED_BYTES = 16 * 1024 * 1024;
/** Requests that are written together, at most: a late one must not hold back the answers of all before it for long. */
export const MAX_GROUP_REQUESTS = 128;
/** The same as bytes, about one full message. */
export const MAX_GROUP_BYTES = 4 * 1024 * 1024;
/**
 * Groups of all modules that are being written at once. LevelDB and the host's own files share the four threads of
 * libuv: with one for reads, one always stays free.
 */
export const WRITES_AT_ONCE = 2;
/** Reads of all modules at the engine at once; see WRITES_AT_ONCE. */
export const READS_AT_ONCE = 1;

/** A module's total in bytes. @param manifestMb what its manifest asks for, MiB */
export function storageQuotaMb(manifestMb: number | undefined): number {
  return Math.min(manifestMb ?? DEFAULT_STORAGE_MB, DEFAULT_STORAGE_MB);
}
