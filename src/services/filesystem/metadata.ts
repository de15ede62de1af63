import type { BigIntStats } from 'node:fs';
import { FileKind, type FileMetadata } from '../../../gen/ts/modhost/v1/filesystem.js';

/** Bytes of one unit of `st_blocks`, whatever the file system's block. @see stat(2) */
const BLOCK_BYTES = 512;

/** What stands at a path, as the contract tells it. */
export function metadataOf(path: string, stats: BigIntStats): FileMetadata {
  const isDirectory = stats.isDirectory();
  return {
    path,
    kind: isDirectory ? FileKind.DIRECTORY : FileKind.FILE,
    sizeBytes: isDirectory ? 0n : stats.size,
    modifiedUnixMs: atLeastZero(stats.mtimeMs),
    createdUnixMs: atLeastZero(stats.birthtimeMs),
  };
}

/** What it takes on the disk, bytes: what usage counts. */
export function diskBytes(stats: BigIntStats): number {
  return Number(stats.blocks) * BLOCK_BYTES;
}

/** A module may set the time of its files before the epoch; the wire has no such numbers. */
function atLeastZero(ms: bigint): bigint {
  return ms < 0n ? 0n : ms;
}
