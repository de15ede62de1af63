import { hashToDisplay } from '../../core/bytes.js';

/** Heights kept: a hash never changes its height, so only memory bounds this (about 150 bytes each). */
const MAX_CACHED_HEIGHTS = 4_096;

/** Heights of blocks by their hash. */
export interface HeightCache {
  /** The height, asked of the node when it is not known yet. */
  get(hash: Uint8Array, ask: () => Promise<number>): Promise<number>;
  set(hash: Uint8Array, height: number): void;
}

/** Makes an empty cache; the oldest entry gives way. */
export function createHeightCache(): HeightCache {
  const heights = new Map<string, number>();
  const set = (hash: Uint8Array, height: number): void => {
    heights.set(hashToDisplay(hash), height);
    const [oldest] = heights.keys();
    if (heights.size > MAX_CACHED_HEIGHTS && oldest !== undefined) heights.delete(oldest);
  };
  return {
    async get(hash, ask) {
      const known = heights.get(hashToDisplay(hash));
      if (known !== undefined) return known;
      const height = await ask();
      set(hash, height);
      return height;
    },
    set,
  };
}
