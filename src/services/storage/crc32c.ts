/**
 * CRC-32C, eight bytes a step: zlib's crc32 has another polynomial.
 *
 * @see RFC 3720 appendix B.4; Intel, "Slicing-by-8"
 */
export type Crc32c = (bytes: Buffer, start: number, end: number) => number;

const POLYNOMIAL = 0x82f6_3b78;

/** Makes the function with its tables, 8 KiB. */
export function createCrc32c(): Crc32c {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256));
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    ...[Int32Array, Int32Array, Int32Array, Int32Array],
    ...[Int32Array, Int32Array, Int32Array, Int32Array],
  ];
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
    t0[byte] = crc;
  }
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = t0[byte] as number;
    for (const table of tables.slice(1)) {
      crc = (t0[crc & 0xff] as number) ^ (crc >>> 8);
      table[byte] = crc;
    }
  }
  // indexes are masked to a byte, so every look-up finds a number
  return (bytes, start, end) => {
    let crc = -1;
    let at = start;
    for (; at + 8 <= end; at += 8) {
      const low = crc ^ bytes.readInt32LE(at);
      crc =
        (t7[low & 0xff] as number) ^
        (t6[(low >>> 8) & 0xff] as number) ^
        (t5[(low >>> 16) & 0xff] as number) ^
        (t4[low >>> 24] as number) ^
        (t3[bytes[at + 4] as number] as number) ^
        (t2[bytes[at + 5] as number] as number) ^
        (t1[bytes[at + 6] as number] as number) ^
        (t0[bytes[at + 7] as number] as number);
    }
    for (; at < end; at += 1) crc = (t0[(crc ^ (bytes[at] as number)) & 0xff] as number) ^ (crc >>> 8);
    return ~crc >>> 0;
  };
}
