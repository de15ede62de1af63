import { optionalHash } from './check.js';

/** One page of a sorted list of hashes. */
export interface HashPage {
  hashes: Uint8Array[];
  /** The last hash of the page, or empty when nothing follows. */
  nextPageToken: Uint8Array;
  /** Hashes in the whole list. */
  totalCount: number;
}

/** Where a page begins: behind this hash, or at the start when undefined. @throws INVALID_REQUEST */
export function readPageToken(token: Uint8Array): Uint8Array | undefined {
  return optionalHash(token, 'page_token');
}

/**
 * The page behind a hash. The token of a page is its last hash, so that pages stay right while entries come and go:
 * what is there throughout is given exactly once.
 *
 * @param sorted all hashes, sorted by their bytes
 */
export function pageOfHashes(sorted: readonly Uint8Array[], after: Uint8Array | undefined, size: number): HashPage {
  const start = after === undefined ? 0 : firstAbove(sorted, after);
  const hashes = sorted.slice(start, start + size);
  const last = start + hashes.length < sorted.length ? hashes.at(-1) : undefined;
  return { hashes, nextPageToken: last ?? new Uint8Array(0), totalCount: sorted.length };
}

/** Index of the first entry above the given one, by binary search. */
function firstAbove(sorted: readonly Uint8Array[], after: Uint8Array): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(sorted[middle] as Uint8Array, after) > 0) high = middle;
    else low = middle + 1;
  }
  return low;
}
