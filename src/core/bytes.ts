/** Number of bytes in a hash: SHA-256, block and transaction ids. */
export const HASH_BYTES = 32;

/** Wraps bytes as a Buffer without copying them. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Lower-case hex of bytes, in the order given. */
export function toHex(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('hex');
}

/**
 * Bytes of a hex string, or undefined when it is not an even number of hex digits.
 * `Buffer.from(text, 'hex')` alone cuts silently at the first bad digit.
 */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** Copy of the bytes in reverse order: internal byte order to display order and back. */
export function reversed(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes).reverse();
}

/** A hash as people know it: hex of the reversed bytes, as explorers and bitcoin-cli print it. */
export function hashToDisplay(hash: Uint8Array): string {
  return toHex(reversed(hash));
}

/** Internal byte order of a displayed hash, or undefined when the text is not 64 hex digits. */
export function hashFromDisplay(text: string): Uint8Array | undefined {
  if (text.length !== HASH_BYTES * 2) return undefined;
  const bytes = fromHex(text);
  return bytes?.reverse();
}

/** True when both hold the same bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && asBuffer(a).equals(asBuffer(b));
}
