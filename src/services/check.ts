import { HostError } from '../contract/error.js';
import { HASH_BYTES } from '../core/bytes.js';

/** Largest height that any node's interface can carry; above it there is no block, and nobody needs to be asked. */
export const MAX_HEIGHT = 0x7fff_ffff;

/** A hash that must be there. @throws FIELD_REQUIRED when empty, INVALID_REQUEST when not 32 bytes */
export function requireHash(value: Uint8Array, field: string): Uint8Array {
  if (value.byteLength === 0) throw new HostError('FIELD_REQUIRED', `${field} is required: 32 bytes, internal order`);
  if (value.byteLength !== HASH_BYTES) {
    throw new HostError('INVALID_REQUEST', `${field} has ${value.byteLength} bytes, not ${HASH_BYTES}`);
  }
  return value;
}

/** A hash that may be left out: undefined when empty. @throws INVALID_REQUEST when neither empty nor 32 bytes */
export function optionalHash(value: Uint8Array, field: string): Uint8Array | undefined {
  return value.byteLength === 0 ? undefined : requireHash(value, field);
}

/** A message that must be there. @throws FIELD_REQUIRED */
export function requireMessage<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw new HostError('FIELD_REQUIRED', `${field} is required`);
  return value;
}

/** A list with 1 to `most` entries. @throws FIELD_REQUIRED when empty, OUT_OF_RANGE when longer */
export function requireList<T>(value: readonly T[], most: number, field: string): readonly T[] {
  if (value.length === 0) throw new HostError('FIELD_REQUIRED', `${field} needs at least one entry`);
  return atMost(value, most, field);
}

/** A list with at most `most` entries. @throws OUT_OF_RANGE */
export function atMost<T>(value: readonly T[], most: number, field: string): readonly T[] {
  if (value.length > most) {
    throw new HostError('OUT_OF_RANGE', `${field} has ${value.length} entries, at most ${most} are allowed`);
  }
  return value;
}

/** A number from `least` to `most`, both included. @throws OUT_OF_RANGE */
export function requireRange<T extends number | bigint>(value: T, least: T, most: T, field: string): T {
  if (value < least || value > most) {
    throw new HostError('OUT_OF_RANGE', `${field} is ${value}; it must be ${least} to ${most}`);
  }
  return value;
}

/** Bytes of 1 to `most`. @throws FIELD_REQUIRED when empty, OUT_OF_RANGE when longer */
export function requireBytes(value: Uint8Array, most: number, field: string): Uint8Array {
  if (value.byteLength === 0) throw new HostError('FIELD_REQUIRED', `${field} is required`);
  if (value.byteLength > most) {
    throw new HostError('OUT_OF_RANGE', `${field} has ${value.byteLength} bytes, at most ${most} are allowed`);
  }
  return value;
}

/** Text of 1 to `mostBytes` bytes in UTF-8 without control characters. @throws FIELD_REQUIRED, INVALID_REQUEST */
export function requireText(value: string, mostBytes: number, field: string): string {
  if (value === '') throw new HostError('FIELD_REQUIRED', `${field} is required`);
  if (Buffer.byteLength(value) > mostBytes || /\p{Cc}/u.test(value)) {
    throw new HostError('INVALID_REQUEST', `${field} must have 1 to ${mostBytes} bytes and no control characters`);
  }
  return value;
}

/** Entries per page: the wish, or `preset` when it is 0. @throws OUT_OF_RANGE when over `most` */
export function pageSize(wish: number, preset: number, most: number): number {
  return wish === 0 ? preset : requireRange(wish, 1, most, 'page_size');
}

/** A part of the port that the node may lack. @throws NODE_LACKS_FEATURE */
export function requireFeature<T>(part: T | undefined, feature: string): T {
  if (part === undefined) {
    throw new HostError('NODE_LACKS_FEATURE', `the node behind this host has no ${feature}`, { details: { feature } });
  }
  return part;
}

/** The enum's number when it is one of those known. @throws UNKNOWN_ENUM */
export function requireKnown<T extends number>(value: number, known: readonly T[], field: string): T {
  const found = known.find((candidate) => candidate === value);
  if (found === undefined) throw new HostError('UNKNOWN_ENUM', `${field} has the unknown value ${value}`);
  return found;
}
