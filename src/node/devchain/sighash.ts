import { hash256, sha256 } from '../../core/bitcoin/hash.js';
import type { Transaction, TransactionOutput } from '../../core/bitcoin/transaction.js';
import { ByteWriter, compactSizeLength } from '../../core/bitcoin/writer.js';
import { taggedHash } from './keys.js';

/** Signs every output; with taproot written as the default, 0. */
export const SIGHASH_ALL = 0x01;
/** Taproot's short form of SIGHASH_ALL: the signature has no type byte. */
export const SIGHASH_DEFAULT = 0x00;
const SIGHASH_NONE = 0x02;
const SIGHASH_SINGLE = 0x03;
const SIGHASH_ANYONECANPAY = 0x80;

/** Messages that the inputs of one transaction sign; what all inputs share is hashed once. */
export interface SighashSource {
  /** Message of a version 0 witness input (BIP 143); any type byte has a meaning. */
  witnessV0(index: number, scriptCode: Uint8Array, hashType: number): Uint8Array;
  /** Message of a taproot key path input (BIP 341), or undefined when the type is not one of the seven allowed. */
  taproot(index: number, hashType: number, annex: Uint8Array | undefined): Uint8Array | undefined;
}

/** Makes the source for a transaction; `spent` are the outputs that its inputs spend, in their order. */
export function createSighashSource(transaction: Transaction, spent: readonly TransactionOutput[]): SighashSource {
  const { inputs, outputs } = transaction;
  const outpoints = once(() => inputs.map((input) => outpointBytes(input.outpoint)));
  const prevouts = once(() => concat(...outpoints()));
  const sequences = once(() => concat(...inputs.map((input) => uint32(input.sequence))));
  const allOutputs = once(() => concat(...outputs.map(outputBytes)));
  const amounts = once(() => concat(...spent.map((output) => uint64(output.valueSats))));
  const scripts = once(() => concat(...spent.map((output) => prefixed(output.scriptPubkey))));
  const zero = new Uint8Array(32);

  return {
    witnessV0(index, scriptCode, hashType) {
      const type = hashType & 0x1f;
      const anyoneCanPay = (hashType & SIGHASH_ANYONECANPAY) !== 0;
      const output = outputs[index];
      let hashedOutputs: Uint8Array = zero;
      if (type !== SIGHASH_NONE && type !== SIGHASH_SINGLE) hashedOutputs = hash256(allOutputs());
      else if (type === SIGHASH_SINGLE && output !== undefined) hashedOutputs = hash256(outputBytes(output));
      return hash256(
        concat(
          uint32(transaction.version),
          anyoneCanPay ? zero : hash256(prevouts()),
          anyoneCanPay || type === SIGHASH_NONE || type === SIGHASH_SINGLE ? zero : hash256(sequences()),
          outpoints()[index] ?? zero,
          prefixed(scriptCode),
          uint64(spent[index]?.valueSats ?? 0n),
          uint32(inputs[index]?.sequence ?? 0),
          hashedOutputs,
          uint32(transaction.lockTime),
          uint32(hashType),
        ),
      );
    },

    taproot(index, hashType, annex) {
      const type = hashType & 0x03;
      const anyoneCanPay = (hashType & SIGHASH_ANYONECANPAY) !== 0;
      const allowed = hashType <= SIGHASH_SINGLE || (anyoneCanPay && type !== 0 && hashType <= 0x83);
      const input = inputs[index];
      const coin = spent[index];
      if (!allowed || input === undefined || coin === undefined) return undefined;
      const parts = [Uint8Array.of(0, hashType), uint32(transaction.version), uint32(transaction.lockTime)];
      if (!anyoneCanPay) {
        parts.push(sha256(prevouts()), sha256(amounts()), sha256(scripts()), sha256(sequences()));
      }
      if (type !== SIGHASH_NONE && type !== SIGHASH_SINGLE) parts.push(sha256(allOutputs()));
      parts.push(Uint8Array.of(annex === undefined ? 0 : 1));
      if (anyoneCanPay) {
        parts.push(outpointBytes(input.outpoint), uint64(coin.valueSats), prefixed(coin.scriptPubkey));
        parts.push(uint32(input.sequence));
      } else {
        parts.push(uint32(index));
      }
      if (annex !== undefined) parts.push(sha256(prefixed(annex)));
      if (type === SIGHASH_SINGLE) {
        const output = outputs[index];
        if (output === undefined) return undefined;
        parts.push(sha256(outputBytes(output)));
      }
      return taggedHash('TapSighash', ...parts);
    },
  };
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function uint32(value: number): Uint8Array {
  const writer = new ByteWriter(4);
  writer.uint32(value);
  return writer.done();
}

function uint64(value: bigint): Uint8Array {
  const writer = new ByteWriter(8);
  writer.uint64(value);
  return writer.done();
}

function prefixed(bytes: Uint8Array): Uint8Array {
  const writer = new ByteWriter(compactSizeLength(bytes.byteLength) + bytes.byteLength);
  writer.lengthPrefixed(bytes);
  return writer.done();
}

function outpointBytes(outpoint: { txid: Uint8Array; index: number }): Uint8Array {
  return concat(outpoint.txid, uint32(outpoint.index));
}

function outputBytes(output: TransactionOutput): Uint8Array {
  return concat(uint64(output.valueSats), prefixed(output.scriptPubkey));
}
