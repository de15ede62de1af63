import assert from 'node:assert/strict';
import { serializeBlock } from '../../src/core/bitcoin/block.js';
import { hash256 } from '../../src/core/bitcoin/hash.js';
import { type BlockHeader, blockHash, serializeHeader } from '../../src/core/bitcoin/header.js';
import { merkleRoot } from '../../src/core/bitcoin/merkle.js';
import { meetsTarget, uint256FromBytes } from '../../src/core/bitcoin/target.js';
import { parseTransaction, type Transaction, txid } from '../../src/core/bitcoin/transaction.js';
import type { BlockTemplate } from '../../src/node/block-template.js';

/** Tries of the nonce; at regtest's target every second hash is good enough. */
const MOST_NONCES = 10_000;
const ZERO_HASH = new Uint8Array(32);
/** Anyone can spend: these coins are nobody's. */
const OP_TRUE = Uint8Array.of(0x51);

/** A block made from a template. */
export interface MinedBlock {
  raw: Uint8Array;
  hash: Uint8Array;
}

/** What a block shall be besides what its template says. */
export interface MineOptions {
  /** 0 to 255, in the coinbase: two blocks on one parent differ. */
  tag?: number;
  damage?: 'merkle-root';
}

/** Mines the block that a template describes, or one with a wrong merkle root. */
export function mineTemplate(template: BlockTemplate, { tag = 0, damage }: MineOptions = {}): MinedBlock {
  const transactions = [coinbase(template, tag), ...template.transactions.map(({ raw }) => parseTransaction(raw))];
  const root = merkleRoot(transactions.map(txid));
  if (damage === 'merkle-root') root[0] = (root[0] ?? 0) ^ 0xff;
  const header: BlockHeader = {
    version: template.version,
    previousHash: template.previousHash,
    merkleRoot: root,
    timeUnixS: template.currentTimeUnixS,
    bits: template.bits,
    nonce: 0,
  };
  const target = uint256FromBytes(template.target);
  for (; header.nonce < MOST_NONCES; header.nonce++) {
    const bytes = serializeHeader(header);
    const hash = blockHash(bytes);
    if (meetsTarget(hash, target)) return { raw: serializeBlock(bytes, transactions), hash };
  }
  assert.fail('no proof of work at this target: the suite needs a regtest network');
}

/** scriptPubKey that commits to the witnesses of the transactions, with a zero reserved value (BIP 141). */
export function witnessCommitment(wtxids: readonly Uint8Array[]): Uint8Array {
  const root = merkleRoot([ZERO_HASH, ...wtxids]);
  return Uint8Array.of(0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed, ...hash256(Uint8Array.of(...root, ...ZERO_HASH)));
}

function coinbase(template: BlockTemplate, tag: number): Transaction {
  const committed = template.witnessCommitmentScript.byteLength > 0;
  const reward = { valueSats: template.coinbaseValueSats, scriptPubkey: OP_TRUE };
  const commitment = { valueSats: 0n, scriptPubkey: template.witnessCommitmentScript };
  return {
    version: 2,
    inputs: [
      {
        outpoint: { txid: ZERO_HASH, index: 0xffff_ffff },
        scriptSig: Uint8Array.of(...heightPush(template.height), 0x01, tag),
        sequence: 0xffff_ffff,
        witness: committed ? [ZERO_HASH] : [],
      },
    ],
    outputs: committed ? [reward, commitment] : [reward],
    lockTime: 0,
  };
}

/** A script number above 16 with its push, as BIP 34 wants it at the head of the coinbase. */
function heightPush(height: number): number[] {
  const digits: number[] = [];
  for (let rest = height; rest > 0; rest >>>= 8) digits.push(rest & 0xff);
  // The top bit is the sign.
  if ((digits.at(-1) ?? 0) >= 0x80) digits.push(0);
  return [digits.length, ...digits];
}
