import { createHash } from 'node:crypto';

/** SHA-256 of the bytes, 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return plain(createHash('sha256').update(bytes).digest());
}

/** SHA-256 applied twice: ids of blocks and transactions, in internal byte order. */
export function hash256(bytes: Uint8Array): Uint8Array {
  return plain(createHash('sha256').update(createHash('sha256').update(bytes).digest()).digest());
}

function plain(digest: Buffer): Uint8Array {
  return new Uint8Array(digest.buffer, digest.byteOffset, digest.byteLength);
}
