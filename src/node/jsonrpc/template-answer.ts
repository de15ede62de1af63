import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import type { BlockTemplate } from '../block-template.js';
import { bigCount, count, hashText, hexText } from './answers.js';

/** Version bits that miners may roll without meaning (BIP 320). */
const GENERAL_PURPOSE_BITS = 0x1fff_e000;

/** Highest bit that BIP 9 gives to deployments. */
const MAX_DEPLOYMENT_BIT = 28;

/** `getblocktemplate` (BIP 22, BIP 23, BIP 145). All its numbers are integers: fees and values are satoshis. */
export const templateAnswer = z.object({
  version: z.number().int(),
  previousblockhash: hashText,
  transactions: z.array(
    z.object({
      data: hexText,
      txid: hashText,
      hash: hashText,
      fee: z.number().int(),
      sigops: count,
      weight: count,
      depends: z.array(count),
    }),
  ),
  coinbasevalue: bigCount,
  longpollid: z.string().optional(),
  target: hexText,
  mintime: count,
  curtime: count,
  sigoplimit: count,
  sizelimit: count,
  weightlimit: count.optional(),
  bits: z.string().regex(/^[0-9a-fA-F]{1,8}$/),
  height: count,
  default_witness_commitment: hexText.optional(),
  vbavailable: z.record(z.string(), count).optional(),
});

/** Weight limit of a block where the node does not tell it (BIP 141). */
const MAX_BLOCK_WEIGHT = 4_000_000;

/** A template in the port's terms. @throws NODE_ERROR when a dependency points outside the template */
export function templateOf(answer: z.infer<typeof templateAnswer>): BlockTemplate {
  const transactions = answer.transactions.map((transaction, index) => ({
    raw: transaction.data,
    txid: transaction.txid,
    wtxid: transaction.hash,
    feeSats: BigInt(transaction.fee),
    sigops: transaction.sigops,
    weight: transaction.weight,
    // On the wire the first transaction after the coinbase is number 1 (BIP 22).
    depends: transaction.depends.map((position) => {
      if (position < 1 || position > index)
        throw new HostError('NODE_ERROR', 'the template depends on what is not before');
      return position - 1;
    }),
  }));
  return {
    previousHash: answer.previousblockhash,
    height: answer.height,
    version: answer.version,
    versionBitsMask: deploymentBits(answer.vbavailable ?? {}) | GENERAL_PURPOSE_BITS,
    bits: Number.parseInt(answer.bits, 16),
    target: answer.target,
    currentTimeUnixS: answer.curtime,
    minTimeUnixS: answer.mintime,
    coinbaseValueSats: answer.coinbasevalue,
    witnessCommitmentScript: answer.default_witness_commitment ?? new Uint8Array(0),
    transactions,
    sigopLimit: answer.sigoplimit,
    sizeLimit: answer.sizelimit,
    weightLimit: answer.weightlimit ?? MAX_BLOCK_WEIGHT,
  };
}

function deploymentBits(available: Record<string, number>): number {
  let mask = 0;
  for (const bit of Object.values(available)) if (bit <= MAX_DEPLOYMENT_BIT) mask |= 1 << bit;
  return mask;
}

/** Subsidy of a block at this height, satoshis; `halving` is 210,000 but for regtest. */
export function subsidyAt(height: number, halving: number): bigint {
  const halvings = Math.floor(height / halving);
  return halvings >= 64 ? 0n : 5_000_000_000n >> BigInt(halvings);
}

/** Blocks between two halvings: Bitcoin Core and btcd shorten it on regtest alone. */
export function halvingInterval(network: string): number {
  return network === 'regtest' ? 150 : 210_000;
}

/** The request of a template: every caller must speak segwit; on signet the node asks for `signet` as well. */
export function templateRequest(rules: readonly string[], network: string): { rules: string[] } {
  const asked = new Set(['segwit', ...rules]);
  if (network === 'signet') asked.add('signet');
  return { rules: [...asked] };
}
