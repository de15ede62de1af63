import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from '../../contract/error.js';
import { type Crc32c, createCrc32c } from './crc32c.js';
import { corrupt } from './failure.js';
import type { InspectionPace } from './inspect.js';

/** What is hung behind the name of a table that is not whole; the engine does not know such files. */
const UNPROVEN = '.unproven';

/**
 * Proves LevelDB's table files before LevelDB reads them. It trusts the lengths and the places that they name: a changed
 * one makes it allocate or read what is not there, and that ends the process; and a changed filter hides keys from it. So
 * every block's checksum is compared here, and every byte of a file must belong to a block.
 *
 * A table that is not whole loses its name. A crash leaves such ones, which were being written and belong to nothing yet;
 * when it was one that counts, the engine misses it and says so.
 *
 * @see LevelDB, doc/table_format.md and table/format.h
 */
export async function proveTables(dir: string, { breath, read }: InspectionPace): Promise<void> {
  const crc32c = createCrc32c();
  for (const name of (await readdir(dir)).filter((file) => /\.(ldb|sst)$/.test(file))) {
    const path = join(dir, name);
    const bytes = await read(() => readFile(path));
    try {
      for (const step of tableSteps(bytes, name, crc32c)) {
        step();
        await breath();
      }
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      await rename(path, `${path}${UNPROVEN}`);
    }
  }
}

/** Gives the tables that lost their names these back: the storage is another program's, who may be writing them. */
export async function restoreUnproven(dir: string): Promise<void> {
  for (const name of await readdir(dir)) {
    if (name.endsWith(UNPROVEN)) await rename(join(dir, name), join(dir, name.slice(0, -UNPROVEN.length)));
  }
}

/** Removes the tables that were not whole and that nothing has missed. */
export async function removeUnproven(dir: string): Promise<void> {
  for (const name of await readdir(dir)) if (name.endsWith(UNPROVEN)) await rm(join(dir, name));
}

/** Two block handles, padding, magic number. */
const FOOTER_BYTES = 48;
const MAGIC = 0xdb47_7524_8b80_fb57n;
/** Behind each block: a byte that says how it is compressed, and the masked checksum of both. */
const TRAILER_BYTES = 5;
const MASK_DELTA = 0xa282_ead8;

interface Handle {
  offset: number;
  size: number;
}

function* tableSteps(bytes: Buffer, name: string, crc32c: Crc32c): Generator<() => void> {
  const bad = (what: string): Error => corrupt(`${what} of ${name}`);
  const prove = ({ offset, size }: Handle): void => {
    const end = offset + size;
    if (end + TRAILER_BYTES > bytes.byteLength - FOOTER_BYTES) throw bad('a block ends beyond the end');
    if (bytes[end] !== 0) throw bad('a block is compressed, which none is,');
    const masked = bytes.readUInt32LE(end + 1);
    const rotated = (masked - MASK_DELTA) >>> 0;
    const stored = ((rotated >>> 17) | (rotated << 15)) >>> 0;
    if (crc32c(bytes, offset, end + 1) !== stored) throw bad('a block does not match the checksum');
  };
  const footer = bytes.byteLength - FOOTER_BYTES;
  if (footer < 0 || bytes.readBigUInt64LE(bytes.byteLength - 8) !== MAGIC) throw bad('the footer is not that');
  const reader = createReader(bytes, footer, bytes.byteLength - 8, bad);
  const meta = reader.handle();
  const index = reader.handle();
  prove(meta);
  prove(index);
  const blocks = [
    ...blockValues(bytes, index, bad),
    ...blockValues(bytes, meta, bad),
    // the order in which they are written
    meta,
    index,
  ];
  let expected = 0;
  for (const block of blocks) {
    if (block.offset !== expected) throw bad('blocks do not follow each other in the index');
    expected = block.offset + block.size + TRAILER_BYTES;
    yield () => prove(block);
  }
  if (expected !== footer) throw bad('bytes belong to no block');
}

/** The handles that an index block holds, one as the value of each of its entries. */
function blockValues(bytes: Buffer, { offset, size }: Handle, bad: (what: string) => Error): Handle[] {
  if (size < 4) throw bad('an index is too short');
  const restarts = bytes.readUInt32LE(offset + size - 4);
  const end = offset + size - 4 * (restarts + 1);
  if (end < offset) throw bad('an index has too many restarts');
  const reader = createReader(bytes, offset, end, bad);
  const handles: Handle[] = [];
  while (reader.left() > 0) {
    reader.varint();
    const keyBytes = reader.varint();
    const valueBytes = reader.varint();
    reader.skip(keyBytes);
    const before = reader.left();
    handles.push(reader.handle());
    if (before - reader.left() !== valueBytes) throw bad('an index entry has another length');
  }
  return handles;
}

function createReader(bytes: Buffer, start: number, end: number, bad: (what: string) => Error) {
  let at = start;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at];
      if (byte === undefined || at >= end || shift > Number.MAX_SAFE_INTEGER / 128) throw bad('a number has no end');
      at += 1;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value;
    }
  };
  return {
    varint,
    handle: (): Handle => ({ offset: varint(), size: varint() }),
    left: () => end - at,
    skip(count: number): void {
      at += count;
      if (at > end) throw bad('an index entry ends beyond the end');
    },
  };
}
