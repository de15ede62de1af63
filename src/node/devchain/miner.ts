import { blockHash, HEADER_BYTES, serializeHeader } from '../../core/bitcoin/header.js';
import { merkleRoot } from '../../core/bitcoin/merkle.js';
import { meetsTarget, uint256FromBytes } from '../../core/bitcoin/target.js';
import {
  serializeTransaction,
  type Transaction,
  type TransactionOutput,
  txid,
} from '../../core/bitcoin/transaction.js';
import { writeCompactSize } from '../../core/bitcoin/writer.js';
import type { BlockTemplate } from '../block-template.js';
import { pushBytes, pushNumber } from './script.js';

/** The reserved value in a coinbase's witness (BIP 141). */
export const WITNESS_RESERVED_VALUE = new Uint8Array(32);

/** Bytes that tell who made a block, for people who look at a coinbase. */
const COINBASE_TAG = Buffer.from('/modhost-devchain/', 'ascii');

/** What a miner adds to a template. */
export interface SolveOptions {
  /** Where subsidy and fees go. */
  rewardScript: Uint8Array;
  /** Keeps the coinbases of blocks on one parent apart, 0 to 2^32 - 1. */
  extraNonce: number;
}

/** Makes a block of a template, proof of work included: about two hashes at regtest's target, out of reach elsewhere. */
export function solveTemplate(template: BlockTemplate, options: SolveOptions): Uint8Array {
  const coinbase = makeCoinbase(template, options);
  const header = solveHeader(template, [txid(coinbase), ...template.transactions.map((item) => item.txid)]);
  return new Uint8Array(
    Buffer.concat([
      header,
      writeCompactSize(template.transactions.length + 1),
      serializeTransaction(coinbase, { witness: true }),
      ...template.transactions.map((item) => item.raw),
    ]),
  );
}

/** A header over these txids whose hash meets the template's target. */
function solveHeader(template: BlockTemplate, txids: readonly Uint8Array[]): Uint8Array {
  const target = uint256FromBytes(template.target);
  const header = serializeHeader({
    version: template.version,
    previousHash: template.previousHash,
    merkleRoot: merkleRoot(txids),
    timeUnixS: template.currentTimeUnixS,
    bits: template.bits,
    nonce: 0,
  });
  const view = new DataView(header.buffer);
  for (let nonce = 0; !meetsTarget(blockHash(header), target); nonce++) view.setUint32(HEADER_BYTES - 4, nonce, true);
  return header;
}

function makeCoinbase(template: BlockTemplate, options: SolveOptions): Transaction {
  const extraNonce = Buffer.alloc(4);
  extraNonce.writeUInt32LE(options.extraNonce);
  const script = [pushNumber(template.height), pushBytes(extraNonce), pushBytes(COINBASE_TAG)];
  const committed = template.witnessCommitmentScript.length > 0;
  const outputs: TransactionOutput[] = [{ valueSats: template.coinbaseValueSats, scriptPubkey: options.rewardScript }];
  if (committed) outputs.push({ valueSats: 0n, scriptPubkey: template.witnessCommitmentScript });
  return {
    version: 2,
    inputs: [
      {
        outpoint: { txid: new Uint8Array(32), index: 0xffff_ffff },
        scriptSig: new Uint8Array(Buffer.concat(script)),
        sequence: 0xffff_ffff,
        witness: committed ? [WITNESS_RESERVED_VALUE] : [],
      },
    ],
    outputs,
    lockTime: 0,
  };
}
