import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  blockTransactionCount,
  iterateBlockTransactions,
  measureBlock,
  parseBlock,
  serializeBlock,
} from '../../src/core/bitcoin/block.js';
import { blockHash, parseHeader, previousHashOf, serializeHeader } from '../../src/core/bitcoin/header.js';
import { merkleRoot, merkleTree } from '../../src/core/bitcoin/merkle.js';
import { outlineTransaction, outlineTxid, outlineWtxid, strippedBytes } from '../../src/core/bitcoin/outline.js';
import { ByteReader, MalformedBytesError, readCompactSize } from '../../src/core/bitcoin/reader.js';
import {
  bitsFromTarget,
  difficultyFromBits,
  meetsTarget,
  targetFromBits,
  uint256ToBytes,
  workFromBits,
} from '../../src/core/bitcoin/target.js';
import {
  isCoinbase,
  parseTransaction,
  serializeTransaction,
  txid,
  vsize,
  weight,
  wtxid,
} from '../../src/core/bitcoin/transaction.js';
import { writeCompactSize } from '../../src/core/bitcoin/writer.js';
import { hashFromDisplay, hashToDisplay, toHex } from '../../src/core/bytes.js';

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'));

/** The first block of mainnet. */
const GENESIS = bytes(
  '0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a' +
    '51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c01010000000100000000000000000000000000000000000000000000000000000000' +
    '00000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e2062' +
    '72696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967' +
    'f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000',
);

/** BIP 143, "Native P2WPKH": two inputs, the first without witness. */
const NATIVE_P2WPKH = bytes(
  '01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000494830450221008b9d1dc26ba6a9cb' +
    '62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f9281a99f2b1c0a19c0489bc22ede944ccf4ecbab4cc618ef3ed' +
    '01eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9' +
    '148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac00' +
    '0247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c4518331561406f90300e8f3358f5' +
    '1928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee635711000000',
);

/** BIP 143, "P2SH-P2WPKH". */
const P2SH_P2WPKH = bytes(
  '01000000000101db6b1b20aa0fd7b23880be2ecbd4a98130974cf4748fb66092ac4d3ceb1a5477010000001716001479091972186c449eb1ded2' +
    '2b78e40d009bdf0089feffffff02b8b4eb0b000000001976a914a457b684d7f0d539a46a45bbc043f35b59d0d96388ac0008af2f000000001976' +
    'a914fd270b1ee6abcaea97fea7ad0402e8bd8ad6d77c88ac02473044022047ac8e878352d3ebbde1c94ce3a10d057c24175747116f8288e5d794' +
    'd12d482f0220217f36a485cae903c713331d877c1f64677e3622ad4010726870540656fe9dcb012103ad1d8e89212f0b92c74d23bb710c00662a' +
    'd1470198ac48c43f7d6f93a2a2687392040000',
);

describe('transactions', () => {
  it('reads BIP 143 "P2SH-P2WPKH" and gives its known txid', () => {
    const transaction = parseTransaction(P2SH_P2WPKH);
    expect(hashToDisplay(txid(transaction))).toBe('ef48d9d0f595052e0f8cdcf825f7a5e50b6a388a81f206f3f4846e5ecd7a0c23');
    expect(transaction.lockTime).toBe(1170);
    expect(transaction.outputs.map((output) => output.valueSats)).toEqual([199_996_600n, 800_000_000n]);
    expect(toHex(wtxid(transaction))).not.toBe(toHex(txid(transaction)));
  });

  it('reads BIP 143 "Native P2WPKH": witness of the second input only, and the unsigned fields around it', () => {
    const transaction = parseTransaction(NATIVE_P2WPKH);
    expect(transaction.inputs.map((input) => input.witness.length)).toEqual([0, 2]);
    expect(transaction.inputs.map((input) => input.sequence)).toEqual([0xffffffee, 0xffffffff]);
    expect(transaction.inputs.map((input) => input.outpoint.index)).toEqual([0, 1]);
    expect(transaction.outputs.map((output) => output.valueSats)).toEqual([112_340_000n, 223_450_000n]);
    expect(transaction.lockTime).toBe(17);
    const stripped = serializeTransaction(transaction, { witness: false }).byteLength;
    expect(weight(transaction)).toBe(stripped * 3 + NATIVE_P2WPKH.byteLength);
    expect(vsize(transaction)).toBe(Math.ceil(weight(transaction) / 4));
  });

  it.each([
    ['native', NATIVE_P2WPKH],
    ['nested', P2SH_P2WPKH],
    ['coinbase of the first block', GENESIS.subarray(81)],
  ])('gives back the same bytes: %s', (_name, raw) => {
    expect(toHex(serializeTransaction(parseTransaction(raw), { witness: true }))).toBe(toHex(raw));
  });

  it.each([
    ['nothing', ''],
    ['no inputs', '0100000000000000000000'],
    ['marker with flag 2', `01000000 0002 ${toHex(P2SH_P2WPKH.subarray(6))}`.replaceAll(' ', '')],
    ['marker, flag and no inputs', '010000000001000000000000'],
    // BIP 144: a transaction without witness must be written without marker.
    ['witness marked but empty', emptyWitness()],
    ['one byte after the end', `${toHex(P2SH_P2WPKH)}00`],
    ['a count of 2^32 inputs', '01000000feffffffff'],
    ['a count of 2^64 - 1 inputs', '01000000ffffffffffffffffff'],
    ['a length in a longer form than needed', `01000000fd0100${toHex(GENESIS.subarray(86))}`],
  ])('refuses %s', (_name, hex) => {
    expect(() => parseTransaction(bytes(hex))).toThrow(MalformedBytesError);
  });

  it.each([
    ['native', NATIVE_P2WPKH, 2],
    ['nested', P2SH_P2WPKH, 2],
    ['coinbase of the first block', GENESIS.subarray(81), 0],
  ])('outlines without decoding: %s', (_name, raw, witnessItems) => {
    const outline = outlineTransaction(raw);
    const parsed = parseTransaction(raw);
    expect(outline).toMatchObject({
      inputCount: parsed.inputs.length,
      outputCount: parsed.outputs.length,
      witnessItems,
    });
    expect(toHex(strippedBytes(outline))).toBe(toHex(serializeTransaction(parsed, { witness: false })));
    expect(toHex(outlineTxid(outline))).toBe(toHex(txid(parsed)));
  });

  it('refuses every prefix of a transaction', () => {
    for (let length = 0; length < NATIVE_P2WPKH.byteLength; length++) {
      expect(() => parseTransaction(NATIVE_P2WPKH.subarray(0, length))).toThrow(MalformedBytesError);
    }
  });

  it('refuses a transaction larger than any block before reading it', () => {
    expect(() => parseTransaction(new Uint8Array(4_000_001))).toThrow(MalformedBytesError);
  });

  it('never fails otherwise than declared, whatever the bytes', () => {
    const seed = randomBytes(4).readUInt32LE();
    process.stdout.write(`bitcoin.test seed ${seed}\n`);
    const random = mulberry32(seed);
    const sources = [NATIVE_P2WPKH, P2SH_P2WPKH, GENESIS];
    for (let round = 0; round < 6_000; round++) {
      const source = sources[round % sources.length] ?? GENESIS;
      const mutated = mutate(source, random);
      const parsed = expectDeclared(() => parseTransaction(mutated));
      const outline = expectDeclared(() => outlineTransaction(mutated));
      expect(outline === undefined).toBe(parsed === undefined);
      if (parsed !== undefined && outline !== undefined) {
        expect(toHex(outlineTxid(outline))).toBe(toHex(txid(parsed)));
        expect(toHex(outlineWtxid(outline))).toBe(toHex(wtxid(parsed)));
        expect(outline.weight).toBe(weight(parsed));
      }
      expectDeclared(() => parseBlock(mutated));
      expectDeclared(() => measureBlock(mutated));
    }
  });
});

describe('blocks', () => {
  it('reads the first block of mainnet', () => {
    const block = parseBlock(GENESIS);
    expect(hashToDisplay(blockHash(block.headerBytes))).toBe(
      '000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f',
    );
    expect(block.header).toMatchObject({
      version: 1,
      timeUnixS: 1_231_006_505,
      bits: 0x1d00ffff,
      nonce: 2_083_236_893,
    });
    expect(toHex(merkleRoot(block.transactions.map(txid)))).toBe(toHex(block.header.merkleRoot));
    expect(block.transactions.map(isCoinbase)).toEqual([true]);
    expect(block.transactions[0]?.outputs[0]?.valueSats).toBe(5_000_000_000n);
    expect(meetsTarget(blockHash(block.headerBytes), targetFromBits(block.header.bits))).toBe(true);
    expect(toHex(serializeHeader(parseHeader(block.headerBytes)))).toBe(toHex(GENESIS.subarray(0, 80)));
    expect(toHex(serializeBlock(block.headerBytes, block.transactions))).toBe(toHex(GENESIS));
    expect(measureBlock(GENESIS)).toEqual({ txCount: 1, weight: GENESIS.byteLength * 4 });
  });

  it('gives each transaction with its own bytes, also out of the middle of a larger buffer', () => {
    const transactions = [NATIVE_P2WPKH, P2SH_P2WPKH, NATIVE_P2WPKH].map(parseTransaction);
    const raw = Buffer.concat([bytes('ff'), serializeBlock(GENESIS.subarray(0, 80), transactions)]).subarray(1);
    expect(blockTransactionCount(raw)).toBe(3);
    expect([...iterateBlockTransactions(raw)].map((item) => toHex(item.raw))).toEqual(
      [NATIVE_P2WPKH, P2SH_P2WPKH, NATIVE_P2WPKH].map(toHex),
    );
    expect(toHex(previousHashOf(raw))).toBe('00'.repeat(32));
    expect(Buffer.isBuffer(parseBlock(raw).headerBytes)).toBe(false);
  });

  it.each([
    ['79 bytes', GENESIS.subarray(0, 79)],
    ['a header alone', GENESIS.subarray(0, 80)],
    ['a transaction too many', Buffer.concat([GENESIS.subarray(0, 80), bytes('02'), GENESIS.subarray(81)])],
    ['a byte left over', Buffer.concat([GENESIS, bytes('00')])],
    ['more than 4,000,000 bytes', new Uint8Array(4_000_001)],
  ])('refuses %s', (_name, raw) => {
    expect(() => parseBlock(raw)).toThrow(MalformedBytesError);
  });

  it('refuses a header of another length', () => {
    expect(() => parseHeader(new Uint8Array(81))).toThrow(MalformedBytesError);
  });
});

describe('merkle root', () => {
  // Block 100,000 of mainnet: four transactions.
  const ids = [
    '8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87',
    'fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4',
    '6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4',
    'e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d',
  ].map((id) => hashFromDisplay(id) as Uint8Array);

  it('gives the root of block 100,000', () => {
    expect(hashToDisplay(merkleRoot(ids))).toBe('f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766');
  });

  it('tells a list with its end repeated, which has the same root (CVE-2012-2459)', () => {
    const three = merkleTree(ids.slice(0, 3));
    const four = merkleTree([...ids.slice(0, 3), ids[2] as Uint8Array]);
    expect(toHex(four.root)).toBe(toHex(three.root));
    expect([three.mutated, four.mutated]).toEqual([false, true]);
  });

  it('of one id is the id, of none is zero', () => {
    expect(merkleRoot(ids.slice(0, 1))).toEqual(ids[0]);
    expect(merkleRoot([])).toEqual(new Uint8Array(32));
  });
});

describe('targets', () => {
  it('agrees with the difficulty that nodes print', () => {
    expect(difficultyFromBits(0x1d00ffff)).toBe(1);
    expect(difficultyFromBits(0x1b0404cb)).toBeCloseTo(16_307.420938523983, 9);
    expect(difficultyFromBits(0x207fffff)).toBeCloseTo(4.6565423739069247e-10, 20);
  });

  it('agrees with the chain work of the first block', () => {
    expect(workFromBits(0x1d00ffff)).toBe(0x1_0001_0001n);
    expect(workFromBits(0x207fffff)).toBe(2n);
  });

  it.each([0x1d00ffff, 0x1b0404cb, 0x207fffff, 0x170331db, 0x04123456, 0x03123456, 0x02123400, 0x02008000])(
    'compact form %i and target give each other',
    (bits) => {
      expect(bitsFromTarget(targetFromBits(bits))).toBe(bits);
    },
  );

  it.each([0, 0x01003456, 0x04923456, 0x01800000, 0xff123456, 0x22010000, 0x23000100])('refuses %i', (bits) => {
    expect(() => targetFromBits(bits)).toThrow(MalformedBytesError);
  });

  it('writes 32 bytes, big-endian', () => {
    expect(toHex(uint256ToBytes(targetFromBits(0x1d00ffff)))).toBe(`00000000ffff${'00'.repeat(26)}`);
  });
});

describe('lengths', () => {
  it.each([0, 1, 0xfc, 0xfd, 0xffff, 0x10000, 0xffffffff, 0x1_0000_0000, Number.MAX_SAFE_INTEGER])('%i', (value) => {
    const written = writeCompactSize(value);
    expect(readCompactSize(written)).toEqual({ value, length: written.byteLength });
  });

  it.each(['fdfc00', 'feffff0000', 'ffffffffff00000000', 'fd00', 'ff00000000000020ff', ''])('refuses %s', (hex) => {
    expect(() => readCompactSize(bytes(hex))).toThrow(MalformedBytesError);
  });

  it('a length beyond the bytes is refused before anything is allocated', () => {
    expect(() => new ByteReader(bytes('fe00000080')).lengthPrefixed()).toThrow(MalformedBytesError);
  });
});

function emptyWitness(): string {
  const transaction = parseTransaction(P2SH_P2WPKH);
  for (const input of transaction.inputs) input.witness = [];
  const stripped = toHex(serializeTransaction(transaction, { witness: true }));
  return `${stripped.slice(0, 8)}0001${stripped.slice(8, -8)}00${stripped.slice(-8)}`;
}

function expectDeclared<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    expect(error).toBeInstanceOf(MalformedBytesError);
    return undefined;
  }
}

function mutate(source: Uint8Array, random: () => number): Uint8Array {
  const copy = Uint8Array.from(source);
  for (let changes = 1 + Math.floor(random() * 4); changes > 0; changes--) {
    copy[Math.floor(random() * copy.length)] = Math.floor(random() * 256);
  }
  const cut = random();
  if (cut < 0.2) return copy.subarray(0, Math.floor(random() * copy.length));
  if (cut < 0.3) return Uint8Array.from([...copy, ...copy.subarray(0, 40)]);
  return copy;
}

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
