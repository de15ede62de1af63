import { createHash, hash } from 'node:crypto';

/**
 * A seal is what an entry is known by: the first 16 bytes of SHA-256 over its place and its value. It stands before the
 * value in the engine, and the sum of all seals of a tree is the tree's digest: a lost, foreign, old or changed entry
 * changes the sum. The engine's own checksums do not tell of a log whose tail was lost, and are not asked at reads.
 */
export type Seal = Buffer;

/** Length of a seal. */
export const SEAL_BYTES = 16;
/** Up to this size two buffers are copied together, because hashing them by one call is twice as fast. */
const COPIED_BYTES = 4_096;

/** Seal of a value at its place; the place includes the tree's number. */
export function sealOf(place: Buffer, value: Uint8Array): Seal {
  const length = Buffer.allocUnsafe(2);
  length.writeUInt16LE(place.byteLength);
  const whole =
    value.byteLength <= COPIED_BYTES
      ? hash('sha256', Buffer.concat([length, place, value]), 'buffer')
      : createHash('sha256').update(length).update(place).update(value).digest();
  return whole.subarray(0, SEAL_BYTES);
}

/** What is stored for a value: its seal and itself. */
export function sealed(seal: Seal, value: Uint8Array): Buffer {
  return Buffer.concat([seal, value]);
}

/** The value of what is stored, and its seal; undefined when they do not belong together. */
export function unsealed(place: Buffer, stored: Buffer): { seal: Seal; value: Buffer } | undefined {
  if (stored.byteLength < SEAL_BYTES) return undefined;
  const seal = stored.subarray(0, SEAL_BYTES);
  const value = stored.subarray(SEAL_BYTES);
  return sealOf(place, value).equals(seal) ? { seal, value } : undefined;
}

/** Sum of seals in any order, four lanes modulo 2^32; the empty sum is zero. */
export class SealSum {
  readonly #lanes: Uint32Array;

  constructor(lanes: Uint32Array = new Uint32Array(4)) {
    this.#lanes = lanes;
  }

  /** The sum as it was written. @param bytes 16 bytes */
  static from(bytes: Buffer): SealSum {
    return new SealSum(Uint32Array.from([0, 4, 8, 12], (at) => bytes.readUInt32LE(at)));
  }

  add(seal: Seal): void {
    for (let lane = 0; lane < 4; lane += 1) {
      this.#lanes[lane] = ((this.#lanes[lane] ?? 0) + seal.readUInt32LE(lane * 4)) >>> 0;
    }
  }

  remove(seal: Seal): void {
    for (let lane = 0; lane < 4; lane += 1) {
      this.#lanes[lane] = ((this.#lanes[lane] ?? 0) - seal.readUInt32LE(lane * 4)) >>> 0;
    }
  }

  copy(): SealSum {
    return new SealSum(this.#lanes.slice());
  }

  bytes(): Buffer {
    const bytes = Buffer.allocUnsafe(SEAL_BYTES);
    for (const [index, lane] of this.#lanes.entries()) bytes.writeUInt32LE(lane, index * 4);
    return bytes;
  }
}
