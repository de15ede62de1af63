/**
 * Bytes that are not what Bitcoin's serialisation allows. The core has no contract: a caller maps it to its own reason
 * (INVALID_REQUEST for bytes that a module sent, NODE_ERROR for bytes that the node sent).
 */
export class MalformedBytesError extends Error {
  /** Where reading stopped, in bytes from the start. */
  readonly offset: number;

  constructor(what: string, offset: number) {
    super(`${what} (at byte ${offset})`);
    this.name = 'MalformedBytesError';
    this.offset = offset;
  }
}

/** Largest CompactSize that stays an exact JavaScript number; every count here is far below. */
const MAX_COUNT = Number.MAX_SAFE_INTEGER;

/**
 * Reads Bitcoin's little-endian serialisation from front to back. Whoever made the bytes may be hostile: nothing is
 * allocated before the bytes for it are known to be there, and byte fields are views, not copies.
 *
 * @throws MalformedBytesError from every method, when the bytes end early or an integer is not in its shortest form
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    // A plain view also of Buffers, so that what is handed out never depends on what came in.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes read so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.byteLength - this.#offset;
  }

  /** One byte. */
  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  /** Four bytes, little-endian, unsigned. */
  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  /** Four bytes, little-endian, two's complement. */
  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** Eight bytes, little-endian, unsigned. */
  uint64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  /** The next `length` bytes, as a view. */
  bytes(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** Passes over the next `length` bytes. */
  skip(length: number): void {
    this.#advance(length);
  }

  /** A view of bytes already read, from `start` up to here. */
  since(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.#offset);
  }

  /** A length in one to nine bytes; longer forms than needed are refused, as Bitcoin Core does. */
  compactSize(): number {
    const start = this.#offset;
    const first = this.uint8();
    if (first < 0xfd) return first;
    let value: number;
    let least: number;
    if (first === 0xfd) {
      value = this.#view.getUint16(this.#advance(2), true);
      least = 0xfd;
    } else if (first === 0xfe) {
      value = this.uint32();
      least = 0x1_0000;
    } else {
      const wide = this.uint64();
      if (wide > BigInt(MAX_COUNT)) throw new MalformedBytesError('length is out of all proportion', start);
      value = Number(wide);
      least = 0x1_0000_0000;
    }
    if (value < least) throw new MalformedBytesError('length is not in its shortest form', start);
    return value;
  }

  /**
   * A count of things that take at least `leastBytes` each; refused when the rest of the bytes cannot hold so many,
   * so that a few hostile bytes never make a loop or an array larger than the input.
   */
  count(leastBytes: number): number {
    const start = this.#offset;
    const count = this.compactSize();
    if (count * leastBytes > this.remaining) {
      throw new MalformedBytesError('count is larger than what follows', start);
    }
    return count;
  }

  /** A length followed by as many bytes, as a view. */
  lengthPrefixed(): Uint8Array {
    return this.bytes(this.count(1));
  }

  /** Refuses bytes that are left over. */
  end(): void {
    if (this.remaining !== 0) throw new MalformedBytesError(`${this.remaining} bytes left over`, this.#offset);
  }

  #advance(length: number): number {
    const start = this.#offset;
    if (length > this.remaining) throw new MalformedBytesError('bytes end early', start);
    this.#offset = start + length;
    return start;
  }
}

/** Reads one CompactSize at the start of `bytes`: the value and how many bytes it took. */
export function readCompactSize(bytes: Uint8Array): { value: number; length: number } {
  const reader = new ByteReader(bytes);
  const value = reader.compactSize();
  return { value, length: reader.offset };
}
