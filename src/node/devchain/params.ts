import { HEADER_BYTES, serializeHeader } from '../../core/bitcoin/header.js';
import { fromHex } from '../../core/bytes.js';

/** Compact form of regtest's only target: blocks never get harder, and about two hashes find one. */
export const POW_BITS = 0x207f_ffff;

/** Expanded form of POW_BITS, also the easiest target allowed. */
export const POW_LIMIT = 0x7fffffn << 232n;

/** Subsidy of the first halving period, satoshis. */
const FIRST_SUBSIDY_SATS = 5_000_000_000n;

/** Blocks between halvings on regtest (mainnet: 210,000). */
const HALVING_INTERVAL_BLOCKS = 150;

/** Blocks that must follow a coinbase before its outputs may be spent. */
export const COINBASE_MATURITY_BLOCKS = 100;

/** Weight limit of a block (BIP 141). */
export const MAX_BLOCK_WEIGHT = 4_000_000;

/** Signature operation cost that a block may hold (BIP 141). */
export const MAX_BLOCK_SIGOPS_COST = 80_000;

/** Seconds that a block's time may be ahead of the clock; later ones Bitcoin Core refuses for the time being. */
export const MAX_FUTURE_BLOCK_TIME_S = 7_200;

/** Block times that the median is taken of (BIP 113). */
export const MEDIAN_TIME_BLOCKS = 11;

/** Version of blocks made here: BIP 9 form, nothing signalled. */
export const BLOCK_VERSION = 0x2000_0000;

/** Bits of the version that a miner may roll (BIP 320). */
export const VERSION_ROLLING_MASK = 0x1fff_e000;

/** Lowest block version allowed: BIP 34, 66 and 65 are active from height 1. */
export const MIN_BLOCK_VERSION = 4;

/** Subsidy of the block at a height, satoshis. */
export function subsidyAt(height: number): bigint {
  const halvings = Math.floor(height / HALVING_INTERVAL_BLOCKS);
  return halvings >= 64 ? 0n : FIRST_SUBSIDY_SATS >> BigInt(halvings);
}

// The coinbase that all of Bitcoin's networks share; its output can never be spent.
const GENESIS_COINBASE_HEX =
  '01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d' +
  '65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f7220' +
  '62616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f' +
  '4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000';
const GENESIS_MERKLE_ROOT_HEX = '3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a';
const GENESIS_TIME_UNIX_S = 1_296_688_602;
const GENESIS_NONCE = 2;

/** The genesis block of regtest, serialised. */
export function genesisBlock(): Uint8Array {
  const header = serializeHeader({
    version: 1,
    previousHash: new Uint8Array(32),
    merkleRoot: fromHex(GENESIS_MERKLE_ROOT_HEX) ?? new Uint8Array(32),
    timeUnixS: GENESIS_TIME_UNIX_S,
    bits: POW_BITS,
    nonce: GENESIS_NONCE,
  });
  const coinbase = fromHex(GENESIS_COINBASE_HEX) ?? new Uint8Array(0);
  const block = new Uint8Array(HEADER_BYTES + 1 + coinbase.byteLength);
  block.set(header, 0);
  block[HEADER_BYTES] = 1;
  block.set(coinbase, HEADER_BYTES + 1);
  return block;
}
