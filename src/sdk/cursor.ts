import { equalBytes, hashFromDisplay, hashToDisplay } from '../core/bytes.js';

/** Hashes that one subscription may name as its cursor. */
export const MAX_CURSOR_HASHES = 32;
/** Newest blocks that a cursor keeps without a hole: reorganisations are rarely deeper. */
const WITHOUT_HOLES = 10;

/** A block and its place. */
export interface ChainPosition {
  /** 32 bytes, internal byte order. */
  readonly hash: Uint8Array;
  /** Counted from the first block = 0. */
  readonly height: number;
}

/**
 * Where a module stands in the chain: blocks that it has handled, the last one first, at most 32. The ten newest stand
 * without a hole, below them one for each doubling of the depth, and always the oldest one known. Never changed in
 * place: each step gives a new one.
 *
 * @see block locators of the peer-to-peer protocol
 */
export type ChainCursor = readonly ChainPosition[];

/** The cursor after the block `position` was handled on top of it. */
export function advanceCursor(cursor: ChainCursor, position: ChainPosition): ChainCursor {
  const below = cursor.filter(({ height }) => height < position.height);
  const oldest = below.at(-1);
  const kept = below.filter((entry) => entry === oldest || isKept(position.height - entry.height, entry.height));
  return [position, ...kept];
}

/** The cursor after every block above `parent` was undone. */
export function retreatCursor(cursor: ChainCursor, parent: ChainPosition): ChainCursor {
  return [parent, ...cursor.filter(({ height }) => height < parent.height)];
}

/** The cursor at one of its own hashes, and what stood before it; undefined when the hash is not in it. */
export function rollbackCursor(
  cursor: ChainCursor,
  hash: Uint8Array,
): { cursor: ChainCursor; to: ChainPosition; unknown: ChainCursor } | undefined {
  const index = cursor.findIndex((entry) => equalBytes(entry.hash, hash));
  const to = cursor[index];
  return to === undefined ? undefined : { cursor: cursor.slice(index), to, unknown: cursor.slice(0, index) };
}

/**
 * Below the newest, exactly one block in each range of depths from 2^k to 2^(k+1) has a height that 2^k divides; and
 * what a greater depth asks for was never dropped at a lesser one.
 */
function isKept(depth: number, height: number): boolean {
  if (depth < WITHOUT_HOLES) return true;
  return height % 2 ** Math.floor(Math.log2(depth)) === 0;
}

/** A cursor as one line of text, `height:hash` with hashes in display order, for a file or a database. */
export function formatCursor(cursor: ChainCursor): string {
  return cursor.map(({ hash, height }) => `${height}:${hashToDisplay(hash)}`).join(' ');
}

/** Reads what `formatCursor` wrote; undefined when the text is something else. An empty text is an empty cursor. */
export function parseCursor(text: string): ChainCursor | undefined {
  const positions: ChainPosition[] = [];
  for (const word of text.split(' ').filter((part) => part !== '')) {
    const [, height = '', display = ''] = /^(\d{1,10}):([0-9a-f]{64})$/.exec(word) ?? [];
    const hash = hashFromDisplay(display);
    const above = positions.at(-1);
    if (hash === undefined || (above !== undefined && Number(height) >= above.height)) return undefined;
    positions.push({ hash, height: Number(height) });
  }
  return positions.length > MAX_CURSOR_HASHES ? undefined : positions;
}
