import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from './engine.js';
import { ENTRY_RANGE } from './layout.js';

/**
 * A storage is worth reclaiming when its files take more than this multiple of what it holds, and more than the least on
 * top: the engine gives room back by itself where writes go on, and rewriting a storage wears a flash card.
 */
const WORTH_FACTOR = 2;
const WORTH_LEAST_BYTES = 16 * 1024 * 1024;

/** Bytes that a storage's files take on the disk. */
export async function bytesOnDisk(engineDir: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(engineDir)) {
    try {
      bytes += (await stat(join(engineDir, name))).size;
    } catch (error) {
      // the engine removes files while they are counted
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return bytes;
}

/** True when rewriting gives back enough. @param heldBytes keys and values that are there */
export function isWorthReclaiming(onDiskBytes: number, heldBytes: number): boolean {
  return onDiskBytes > WORTH_FACTOR * heldBytes + WORTH_LEAST_BYTES;
}

/** Rewrites the tables without what was deleted; reads and writes go on meanwhile, more slowly. */
export async function rewrite(engine: Engine): Promise<void> {
  await engine.compactRange(ENTRY_RANGE.gte, ENTRY_RANGE.lt, { keyEncoding: 'buffer' });
}
