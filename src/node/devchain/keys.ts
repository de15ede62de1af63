import { schnorr, secp256k1 } from '@noble/curves/secp256k1.js';
import { uint256FromBytes, uint256ToBytes } from '../../core/bitcoin/target.js';

/** A key that signs taproot key path spends. */
export interface TaprootKey {
  /** 32 bytes, x only, tweaked: what stands in the output (BIP 341). */
  outputKey: Uint8Array;
  /** Signs a 32-byte message (BIP 340). @param auxiliary 32 random bytes */
  sign(message: Uint8Array, auxiliary: Uint8Array): Uint8Array;
}

/** A key that signs P2WPKH spends. */
export interface EcdsaKey {
  /** 33 bytes, compressed. */
  publicKey: Uint8Array;
  /** Signs a 32-byte message; strict DER with low S (BIP 66, BIP 146), without type byte. */
  sign(message: Uint8Array): Uint8Array;
}

/** SHA-256 with the tag's hash twice in front (BIP 340). */
export function taggedHash(tag: string, ...parts: readonly Uint8Array[]): Uint8Array {
  return schnorr.utils.taggedHash(tag, ...parts);
}

/** Taproot key without scripts from a secret, tweaked by the empty tree (BIP 86). */
export function taprootKey(secret: Uint8Array): TaprootKey {
  const order = secp256k1.Point.Fn.ORDER;
  const internal = schnorr.getPublicKey(secret);
  const tweak = uint256FromBytes(taggedHash('TapTweak', internal)) % order;
  const point = secp256k1.Point.BASE.multiply(uint256FromBytes(secret));
  const even = point.toAffine().y % 2n === 0n;
  const scalar = uint256FromBytes(secret);
  const tweaked = uint256ToBytes(((even ? scalar : order - scalar) + tweak) % order);
  return {
    outputKey: schnorr.getPublicKey(tweaked),
    sign: (message, auxiliary) => schnorr.sign(message, tweaked, auxiliary),
  };
}

/** ECDSA key from a secret. */
export function ecdsaKey(secret: Uint8Array): EcdsaKey {
  return {
    publicKey: secp256k1.getPublicKey(secret, true),
    sign: (message) =>
      secp256k1.Signature.fromBytes(secp256k1.sign(message, secret, { prehash: false })).toBytes('der'),
  };
}

/** True when the 64 bytes are the output key's signature of the message (BIP 340). */
export function verifySchnorr(signature: Uint8Array, message: Uint8Array, outputKey: Uint8Array): boolean {
  return schnorr.verify(signature, message, outputKey);
}

/** True when r and s are the compressed key's signature of the message; high S counts, as consensus has it. */
export function verifyEcdsa(r: bigint, s: bigint, message: Uint8Array, publicKey: Uint8Array): boolean {
  const order = secp256k1.Point.Fn.ORDER;
  if (r <= 0n || s <= 0n || r >= order || s >= order) return false;
  try {
    const compact = new secp256k1.Signature(r, s).toBytes('compact');
    return secp256k1.verify(compact, message, publicKey, { prehash: false, lowS: false });
  } catch {
    // The key is no point of the curve: a failed signature, as in Bitcoin Core.
    return false;
  }
}

/** True when S is in the lower half of its range (BIP 146; a rule of relay, not of consensus). */
export function isLowS(s: bigint): boolean {
  return s <= secp256k1.Point.Fn.ORDER / 2n;
}

/**
 * Reads a strictly encoded DER signature without its type byte, or undefined when the encoding is not strict.
 *
 * @see BIP 66
 */
export function parseStrictDer(bytes: Uint8Array): { r: bigint; s: bigint } | undefined {
  if (bytes.length < 8 || bytes.length > 72 || bytes[0] !== 0x30 || bytes[1] !== bytes.length - 2) return undefined;
  const r = derInteger(bytes, 2);
  const s = r === undefined ? undefined : derInteger(bytes, r.end);
  if (r === undefined || s === undefined || s.end !== bytes.length) return undefined;
  return { r: r.value, s: s.value };
}

function derInteger(bytes: Uint8Array, at: number): { value: bigint; end: number } | undefined {
  const length = bytes[at + 1];
  if (bytes[at] !== 0x02 || length === undefined || length === 0) return undefined;
  const end = at + 2 + length;
  if (end > bytes.length) return undefined;
  const digits = bytes.subarray(at + 2, end);
  const [first, second] = digits;
  if (first === undefined || first >= 0x80) return undefined;
  if (first === 0 && second !== undefined && second < 0x80) return undefined;
  return { value: uint256FromBytes(digits), end };
}
