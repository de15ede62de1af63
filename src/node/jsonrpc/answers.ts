import { z } from 'zod';
import { HostError } from '../../contract/error.js';
import { blockHash, serializeHeader } from '../../core/bitcoin/header.js';
import { equalBytes, fromHex, hashFromDisplay } from '../../core/bytes.js';
import { bitcoinPerKvbToSats, bitcoinToSats } from './amounts.js';

/*
 * Shapes of the answers that Bitcoin Core and btcd share, parsed at the border: hashes become bytes in internal
 * order, amounts satoshis. Unknown members are dropped, so newer nodes stay readable.
 */

/** A hash in display order, to 32 bytes in internal order. */
export const hashText = z.string().transform((text, context) => {
  const bytes = hashFromDisplay(text);
  if (bytes === undefined) {
    context.addIssue({ code: 'custom', message: 'is no hash' });
    return z.NEVER;
  }
  return bytes;
});

/** Hex of any length, to bytes. */
export const hexText = z.string().transform((text, context) => {
  const bytes = fromHex(text);
  if (bytes === undefined) {
    context.addIssue({ code: 'custom', message: 'is no hex' });
    return z.NEVER;
  }
  return bytes;
});

const numberText = z.union([z.number(), z.string()]);

/** An amount in bitcoin, to satoshis, exact. */
export const bitcoinAmount = numberText.transform((value, context) => {
  const sats = bitcoinToSats(value);
  if (sats === undefined) {
    context.addIssue({ code: 'custom', message: 'is no amount' });
    return z.NEVER;
  }
  return sats;
});

/** A fee rate in bitcoin per kvB, to satoshis per kvB. */
export const feeRate = numberText.transform((value, context) => {
  const rate = bitcoinPerKvbToSats(value);
  if (rate === undefined) {
    context.addIssue({ code: 'custom', message: 'is no fee rate' });
    return z.NEVER;
  }
  return rate;
});

/** A figure that may be a fraction; approximate by nature. */
export const figure = numberText.transform((value, context) => {
  const number = Number(value);
  if (!Number.isFinite(number)) {
    context.addIssue({ code: 'custom', message: 'is no number' });
    return z.NEVER;
  }
  return number;
});

/** A count of bytes or the like that may pass 2^53. */
export const bigCount = numberText.transform((value, context) => {
  if (!/^[0-9]{1,20}$/.test(String(value))) {
    context.addIssue({ code: 'custom', message: 'is no count' });
    return z.NEVER;
  }
  return BigInt(value);
});

/** A whole number from 0 to 2^53 - 1. */
export const count = z.number().int().min(0);

/** nBits as eight hex digits. */
const compactBits = z
  .string()
  .regex(/^[0-9a-fA-F]{1,8}$/)
  .transform((text) => Number.parseInt(text, 16));

const headerFields = {
  hash: hashText,
  /** -1 for a block off the active chain (Bitcoin Core). */
  confirmations: z.number().int(),
  height: count,
  version: z.number().int(),
  merkleroot: hashText,
  time: count,
  nonce: count,
  bits: compactBits,
  /** Absent (or all zero) for the genesis block. */
  previousblockhash: hashText.optional(),
  mediantime: count.optional(),
  chainwork: hexText.optional(),
  nTx: count.optional(),
};

/** `getblockheader` verbose. */
export const verboseHeader = z.object(headerFields);

/** `getblock` verbosity 1. */
export const verboseBlock = z.object({ ...headerFields, size: count, weight: count, tx: z.array(hashText) });

/** A decoded verbose header. */
export type VerboseHeader = z.infer<typeof verboseHeader>;

/**
 * The 80 bytes of a header out of its verbose form; they are hashed, so a node (or a proxy before it) that garbles a
 * field is found out.
 *
 * @throws NODE_ERROR when the fields do not hash to the block's own hash
 */
export function headerBytes(answer: VerboseHeader): Uint8Array {
  const header = serializeHeader({
    version: answer.version,
    previousHash: answer.previousblockhash ?? new Uint8Array(32),
    merkleRoot: answer.merkleroot,
    timeUnixS: answer.time,
    bits: answer.bits,
    nonce: answer.nonce,
  });
  assertHeaderHash(header, answer.hash);
  return header;
}

/** @throws NODE_ERROR when the header (or a block that begins with it) does not hash to `hash` */
export function assertHeaderHash(header: Uint8Array, hash: Uint8Array): void {
  if (header.byteLength < 80 || !equalBytes(blockHash(header.subarray(0, 80)), hash)) {
    throw new HostError('NODE_ERROR', 'the node answered with another block than was asked for');
  }
}

/** `getblockchaininfo`, as far as both nodes have it. */
export const chainSummary = z.object({
  chain: z.string(),
  blocks: count,
  headers: count,
  bestblockhash: hashText,
  difficulty: figure,
  mediantime: count.optional(),
  verificationprogress: figure.optional(),
  initialblockdownload: z.boolean().optional(),
  chainwork: hexText.optional(),
  pruned: z.boolean().optional(),
  pruneheight: count.optional(),
});

/** A decoded `getblockchaininfo`. */
export type ChainSummary = z.infer<typeof chainSummary>;

/** `gettxout`; null when spent or unknown. */
export const unspentOutput = z
  .object({
    bestblock: hashText,
    confirmations: count,
    value: bitcoinAmount,
    scriptPubKey: z.object({ hex: hexText }),
    coinbase: z.boolean(),
  })
  .nullable();

/** `getnettotals`. */
export const netTotals = z.object({ totalbytesrecv: bigCount, totalbytessent: bigCount });

/** One entry of `testmempoolaccept`. */
export const acceptTest = z.object({
  txid: hashText,
  wtxid: hashText.optional(),
  allowed: z.boolean().optional(),
  vsize: count.optional(),
  fees: z.object({ base: bitcoinAmount }).optional(),
  'reject-reason': z.string().optional(),
  'package-error': z.string().optional(),
});
