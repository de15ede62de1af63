/** Bytes that the CompactSize of a value takes: 1, 3, 5 or 9. */
export function compactSizeLength(value: number): number {
  if (value < 0xfd) return 1;
  if (value <= 0xffff) return 3;
  if (value <= 0xffff_ffff) return 5;
  return 9;
}

/** A length in Bitcoin's variable form, shortest one. `value` is a safe integer from 0. */
export function writeCompactSize(value: number): Uint8Array {
  const writer = new ByteWriter(compactSizeLength(value));
  writer.compactSize(value);
  return writer.done();
}

/** Writes Bitcoin's little-endian serialisation into a piece of memory of a size known beforehand. */
export class ByteWriter {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** One byte. */
  uint8(value: number): void {
    this.#view.setUint8(this.#offset, value);
    this.#offset += 1;
  }

  /** Four bytes; negative numbers become their two's complement. */
  uint32(value: number): void {
    this.#view.setUint32(this.#offset, value, true);
    this.#offset += 4;
  }

  /** Eight bytes. */
  uint64(value: bigint): void {
    this.#view.setBigUint64(this.#offset, value, true);
    this.#offset += 8;
  }

  /** The bytes as they are. */
  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.#offset);
    this.#offset += value.byteLength;
  }

  /** A length in its shortest form. */
  compactSize(value: number): void {
    if (value < 0xfd) {
      this.uint8(value);
    } else if (value <= 0xffff) {
      this.uint8(0xfd);
      this.#view.setUint16(this.#offset, value, true);
      this.#offset += 2;
    } else if (value <= 0xffff_ffff) {
      this.uint8(0xfe);
      this.uint32(value);
    } else {
      this.uint8(0xff);
      this.uint64(BigInt(value));
    }
  }

  /** A length and as many bytes. */
  lengthPrefixed(value: Uint8Array): void {
    this.compactSize(value.byteLength);
    this.bytes(value);
  }

  /** What was written; the size announced and the size written must agree. */
  done(): Uint8Array {
    if (this.#offset !== this.#bytes.byteLength) {
      throw new RangeError(`wrote ${this.#offset} of ${this.#bytes.byteLength} bytes`);
    }
    return this.#bytes;
  }
}
