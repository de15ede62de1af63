import { equalBytes, HASH_BYTES } from '../bytes.js';
import { hash256 } from './hash.js';

/** Root of Bitcoin's hash tree over the ids, internal byte order; 32 zero bytes when there is none. */
export function merkleRoot(ids: readonly Uint8Array[]): Uint8Array {
  return merkleTree(ids).root;
}

/**
 * Root, and whether two equal neighbours make the list ambiguous: a list with its end repeated has the same root, so
 * whoever accepts a block must refuse a mutated one without remembering its hash as bad (CVE-2012-2459).
 */
export function merkleTree(ids: readonly Uint8Array[]): { root: Uint8Array; mutated: boolean } {
  let level = [...ids];
  let mutated = false;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const left = level[i] as Uint8Array;
      const right = level[i + 1];
      if (right !== undefined && equalBytes(left, right)) mutated = true;
      above.push(joined(left, right ?? left));
    }
    level = above;
  }
  return { root: level[0] ?? new Uint8Array(HASH_BYTES), mutated };
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array {
  const both = new Uint8Array(2 * HASH_BYTES);
  both.set(left, 0);
  both.set(right, HASH_BYTES);
  return hash256(both);
}
