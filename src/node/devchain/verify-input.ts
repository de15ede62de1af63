import type { Transaction, TransactionInput, TransactionOutput } from '../../core/bitcoin/transaction.js';
import { equalBytes } from '../../core/bytes.js';
import { isLowS, parseStrictDer, verifyEcdsa, verifySchnorr } from './keys.js';
import { hash160, keyHashScriptCode, scriptKind, witnessProgram } from './script.js';
import { createSighashSource, SIGHASH_DEFAULT, type SighashSource } from './sighash.js';

/** First byte of an annex (BIP 341). */
const ANNEX_TAG = 0x50;

/** Type bytes that relay allows; consensus gives every byte of a version 0 signature a meaning. */
const DEFINED_HASH_TYPES: readonly number[] = [0x01, 0x02, 0x03, 0x81, 0x82, 0x83];

/**
 * What was found of the scripts of a transaction. `unsupported` is no statement on validity: the devchain has no script
 * interpreter and verifies P2WPKH, taproot key path, pay-to-anchor and a lone OP_TRUE; it accepts nothing else.
 */
export type ScriptVerdict = { status: 'valid' } | { status: 'invalid' | 'unsupported'; detail: string };

/**
 * Verifies that one input may spend its output.
 *
 * @param spent    the outputs that the transaction's inputs spend, in their order
 * @param relay    also hold the rules of relay that matter here: low S, defined hash types, no annex
 * @param sighash  source made of the same transaction and outputs
 */
export function verifyInput(
  transaction: Transaction,
  index: number,
  spent: readonly TransactionOutput[],
  relay: boolean,
  sighash: SighashSource = createSighashSource(transaction, spent),
): ScriptVerdict {
  const input = transaction.inputs[index];
  const output = spent[index];
  if (input === undefined || output === undefined) return invalid('no such input');
  const kind = scriptKind(output.scriptPubkey);
  switch (kind) {
    case 'p2wpkh':
      return input.scriptSig.length > 0 ? invalid('Witness requires empty scriptSig') : keyHash();
    case 'p2tr':
      return input.scriptSig.length > 0 ? invalid('Witness requires empty scriptSig') : taproot();
    case 'anchor':
    case 'anyone':
      if (input.scriptSig.length === 0 && input.witness.length === 0) return { status: 'valid' };
      return unsupported(`spend of ${kind} output with a script or witness`);
    default:
      return unsupported(`spend of ${kind} output`);
  }

  function keyHash(): ScriptVerdict {
    const [signature, publicKey] = (input as TransactionInput).witness;
    if (signature === undefined || publicKey === undefined || input?.witness.length !== 2) {
      return invalid('Witness program hash mismatch');
    }
    const program = witnessProgram(output?.scriptPubkey ?? new Uint8Array(0))?.bytes ?? new Uint8Array(0);
    if (!equalBytes(hash160(publicKey), program)) return invalid('Script failed an OP_EQUALVERIFY operation');
    // Consensus would accept an uncompressed key here; no wallet makes one, and relay refuses it.
    if (publicKey.length === 65) return unsupported('uncompressed key in a witness');
    const der = parseStrictDer(signature.subarray(0, -1));
    const hashType = signature[signature.length - 1];
    if (der === undefined || hashType === undefined) return invalid('Non-canonical DER signature');
    if (relay && !DEFINED_HASH_TYPES.includes(hashType))
      return invalid('Signature hash type missing or not understood');
    if (relay && !isLowS(der.s)) return invalid('Non-canonical signature: S value is unnecessarily high');
    const compressed = publicKey.length === 33 && (publicKey[0] === 0x02 || publicKey[0] === 0x03);
    const message = sighash.witnessV0(index, keyHashScriptCode(program), hashType);
    const valid = compressed && verifyEcdsa(der.r, der.s, message, publicKey);
    return valid ? { status: 'valid' } : invalid('Signature must be zero for failed CHECK(MULTI)SIG operation');
  }

  function taproot(): ScriptVerdict {
    let stack = (input as TransactionInput).witness;
    let annex: Uint8Array | undefined;
    const last = stack[stack.length - 1];
    if (last === undefined) return invalid('Witness program was passed an empty witness');
    if (stack.length >= 2 && last[0] === ANNEX_TAG) {
      if (relay) return invalid('annex is not relayed');
      annex = last;
      stack = stack.slice(0, -1);
    }
    const [signature] = stack;
    if (signature === undefined || stack.length > 1) return unsupported('taproot script path');
    if (signature.length !== 64 && signature.length !== 65) return invalid('Invalid Schnorr signature size');
    const hashType = signature[64] ?? SIGHASH_DEFAULT;
    const message =
      signature.length === 65 && hashType === SIGHASH_DEFAULT ? undefined : sighash.taproot(index, hashType, annex);
    if (message === undefined) return invalid('Invalid Schnorr signature hash type');
    const outputKey = output?.scriptPubkey.subarray(2) ?? new Uint8Array(0);
    const valid = verifySchnorr(signature.subarray(0, 64), message, outputKey);
    return valid ? { status: 'valid' } : invalid('Invalid Schnorr signature');
  }
}

/** Signature operations that the witness of an input counts for (BIP 141): one for P2WPKH, none for taproot. */
export function witnessSigops(spent: TransactionOutput): number {
  return scriptKind(spent.scriptPubkey) === 'p2wpkh' ? 1 : 0;
}

function invalid(detail: string): ScriptVerdict {
  return { status: 'invalid', detail };
}

function unsupported(detail: string): ScriptVerdict {
  return { status: 'unsupported', detail };
}
