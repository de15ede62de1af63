import { hash256 } from './hash.js';
import { ByteReader, MalformedBytesError } from './reader.js';
import { ByteWriter } from './writer.js';

/** Bytes of a block header. */
export const HEADER_BYTES = 80;

/** The fields of a block header. */
export interface BlockHeader {
  /** -2^31 to 2^31 - 1; its bits signal for soft forks (BIP 9). */
  version: number;
  /** 32 bytes, internal byte order. */
  previousHash: Uint8Array;
  /** 32 bytes, internal byte order. */
  merkleRoot: Uint8Array;
  /** As the miner claims, Unix seconds. */
  timeUnixS: number;
  /** Target in compact form. */
  bits: number;
  nonce: number;
}

/** Fields of a header. @param bytes exactly HEADER_BYTES @throws MalformedBytesError */
export function parseHeader(bytes: Uint8Array): BlockHeader {
  if (bytes.byteLength !== HEADER_BYTES) {
    throw new MalformedBytesError(`header has ${bytes.byteLength} bytes, not ${HEADER_BYTES}`, bytes.byteLength);
  }
  const reader = new ByteReader(bytes);
  return {
    version: reader.int32(),
    previousHash: reader.bytes(32),
    merkleRoot: reader.bytes(32),
    timeUnixS: reader.uint32(),
    bits: reader.uint32(),
    nonce: reader.uint32(),
  };
}

/** The 80 bytes of a header. */
export function serializeHeader(header: BlockHeader): Uint8Array {
  const writer = new ByteWriter(HEADER_BYTES);
  writer.uint32(header.version);
  writer.bytes(header.previousHash);
  writer.bytes(header.merkleRoot);
  writer.uint32(header.timeUnixS);
  writer.uint32(header.bits);
  writer.uint32(header.nonce);
  return writer.done();
}

/** Hash of a header's 80 bytes, internal byte order. */
export function blockHash(header: Uint8Array): Uint8Array {
  return hash256(header);
}

/** Hash of the parent, out of a header's or a block's bytes, as a view. The bytes are at least HEADER_BYTES. */
export function previousHashOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset + 4, 32);
}
