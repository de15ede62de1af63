import { MalformedBytesError } from './reader.js';

const HASH_SPACE = 1n << 256n;

/**
 * Target that a compact form stands for, 1 to 2^256 - 1.
 *
 * @throws MalformedBytesError when the form is negative, zero or over 256 bits: such a header is never valid
 * @see Bitcoin Core, arith_uint256 "SetCompact"
 */
export function targetFromBits(bits: number): bigint {
  const exponent = bits >>> 24;
  const mantissa = BigInt(bits & 0x7f_ffff);
  const target = exponent <= 3 ? mantissa >> BigInt(8 * (3 - exponent)) : mantissa << BigInt(8 * (exponent - 3));
  if ((bits & 0x80_0000) !== 0 || target === 0n || target >= HASH_SPACE) {
    throw new MalformedBytesError('compact target is negative, zero or too large', 0);
  }
  return target;
}

/** Compact form of a target from 1 to 2^256 - 1; digits below the top three bytes are lost. */
export function bitsFromTarget(target: bigint): number {
  let exponent = Math.ceil(target.toString(2).length / 8);
  let mantissa = Number(exponent <= 3 ? target << BigInt(8 * (3 - exponent)) : target >> BigInt(8 * (exponent - 3)));
  // The top bit of the mantissa is a sign: a mantissa that would set it moves down one byte.
  if (mantissa >= 0x80_0000) {
    mantissa >>>= 8;
    exponent += 1;
  }
  return exponent * 0x100_0000 + mantissa;
}

/** Difficulty as nodes print it: how much harder than the easiest target of mainnet. @throws MalformedBytesError */
export function difficultyFromBits(bits: number): number {
  targetFromBits(bits);
  const exponent = bits >>> 24;
  return (0xffff / (bits & 0x7f_ffff)) * 256 ** (0x1d - exponent);
}

/** Hashes expected to find a block of this target; sums to the chain's work. @throws MalformedBytesError */
export function workFromBits(bits: number): bigint {
  return HASH_SPACE / (targetFromBits(bits) + 1n);
}

/** True when a block hash (internal byte order, so its number is little-endian) is at or below the target. */
export function meetsTarget(hash: Uint8Array, target: bigint): boolean {
  return uint256FromBytes(Uint8Array.from(hash).reverse()) <= target;
}

/** 32 bytes, big-endian, of a number below 2^256. */
export function uint256ToBytes(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(64, '0'), 'hex'));
}

/** Number in big-endian bytes. */
export function uint256FromBytes(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return value;
}
