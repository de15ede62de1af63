import {
  isCoinbase,
  parseTransaction,
  serializeTransaction,
  type Transaction,
  type TransactionInput,
  txid,
  vsize,
  weight,
  wtxid,
} from '../../../src/core/bitcoin/transaction.js';
import { hashToDisplay, toHex } from '../../../src/core/bytes.js';
import { btc, type Json } from './json.js';

/**
 * A transaction as `getrawtransaction` and `getblock` describe it. The members that restate a script for people (`asm`,
 * `desc`, `address`) are left out; everything else is there.
 */
export function transactionJson(raw: Uint8Array): { [key: string]: Json } {
  const transaction = parseTransaction(raw);
  return {
    txid: hashToDisplay(txid(transaction)),
    hash: hashToDisplay(wtxid(transaction)),
    version: transaction.version,
    size: serializeTransaction(transaction, { witness: true }).byteLength,
    vsize: vsize(transaction),
    weight: weight(transaction),
    locktime: transaction.lockTime,
    vin: transaction.inputs.map((input) => inputJson(input, transaction)),
    vout: transaction.outputs.map((output, n) => ({
      value: btc(output.valueSats),
      n,
      scriptPubKey: scriptJson(output.scriptPubkey),
    })),
    hex: toHex(raw),
  };
}

/** A scriptPubKey as answers hold it. */
export function scriptJson(script: Uint8Array): Json {
  return { hex: toHex(script), type: scriptType(script) };
}

function inputJson(input: TransactionInput, transaction: Transaction): Json {
  const witness = input.witness.length === 0 ? undefined : input.witness.map(toHex);
  if (isCoinbase(transaction)) {
    return { coinbase: toHex(input.scriptSig), txinwitness: witness, sequence: input.sequence };
  }
  return {
    txid: hashToDisplay(input.outpoint.txid),
    vout: input.outpoint.index,
    scriptSig: { hex: toHex(input.scriptSig) },
    txinwitness: witness,
    sequence: input.sequence,
  };
}

function scriptType(script: Uint8Array): string {
  const [first, second] = script;
  const length = script.byteLength;
  if (first === 0x6a) return 'nulldata';
  if (first === 0x00 && second === 0x14 && length === 22) return 'witness_v0_keyhash';
  if (first === 0x00 && second === 0x20 && length === 34) return 'witness_v0_scripthash';
  if (first === 0x51 && second === 0x20 && length === 34) return 'witness_v1_taproot';
  if (first === 0x76 && length === 25) return 'pubkeyhash';
  if (first === 0xa9 && length === 23) return 'scripthash';
  if ((length === 35 || length === 67) && script.at(-1) === 0xac) return 'pubkey';
  return 'nonstandard';
}
