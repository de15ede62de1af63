import { createHash } from 'node:crypto';
import { sha256 } from '../../core/bitcoin/hash.js';

const OP_0 = 0x00;
const OP_PUSHDATA1 = 0x4c;
const OP_PUSHDATA2 = 0x4d;
const OP_PUSHDATA4 = 0x4e;
const OP_1 = 0x51;
const OP_16 = 0x60;
const OP_RETURN = 0x6a;
const OP_DUP = 0x76;
const OP_EQUAL = 0x87;
const OP_EQUALVERIFY = 0x88;
const OP_HASH160 = 0xa9;
const OP_CHECKSIG = 0xac;
const OP_CHECKSIGVERIFY = 0xad;
const OP_CHECKMULTISIG = 0xae;
const OP_CHECKMULTISIGVERIFY = 0xaf;

/** Signature operations that a bare multisig counts for when its keys are not read (Bitcoin Core, GetSigOpCount). */
const MULTISIG_SIGOPS = 20;

/** Longest output script that can ever be spent, bytes. */
const MAX_SCRIPT_BYTES = 10_000;

/** Output scripts by what it takes to spend them. */
export type ScriptKind =
  | 'p2wpkh'
  | 'p2tr'
  | 'p2wsh'
  | 'p2pkh'
  | 'p2sh'
  /** Pay to anchor, spendable by anybody with an empty witness. */
  | 'anchor'
  | 'witness-unknown'
  /** A lone OP_TRUE, spendable by anybody. */
  | 'anyone'
  | 'unspendable'
  | 'other';

/** What it takes to spend an output with this script. */
export function scriptKind(script: Uint8Array): ScriptKind {
  if (isUnspendable(script)) return 'unspendable';
  if (script.length === 1 && script[0] === OP_1) return 'anyone';
  const program = witnessProgram(script);
  if (program !== undefined) {
    if (program.version === 0) {
      if (program.bytes.length === 20) return 'p2wpkh';
      return program.bytes.length === 32 ? 'p2wsh' : 'other';
    }
    if (program.version === 1 && program.bytes.length === 32) return 'p2tr';
    const anchor = program.version === 1 && program.bytes.length === 2;
    return anchor && program.bytes[0] === 0x4e && program.bytes[1] === 0x73 ? 'anchor' : 'witness-unknown';
  }
  if (isPayToScriptHash(script)) return 'p2sh';
  return isPayToPublicKeyHash(script) ? 'p2pkh' : 'other';
}

/** True when no witness or signature can ever spend it; such outputs never enter the set of unspent ones. */
export function isUnspendable(script: Uint8Array): boolean {
  return script[0] === OP_RETURN || script.length > MAX_SCRIPT_BYTES;
}

/** Version and bytes of a witness program, or undefined (BIP 141). */
export function witnessProgram(script: Uint8Array): { version: number; bytes: Uint8Array } | undefined {
  const [opcode, length] = script;
  if (opcode === undefined || length === undefined || script.length < 4 || script.length > 42) return undefined;
  if (opcode !== OP_0 && (opcode < OP_1 || opcode > OP_16)) return undefined;
  if (length + 2 !== script.length) return undefined;
  return { version: opcode === OP_0 ? 0 : opcode - OP_1 + 1, bytes: script.subarray(2) };
}

/** Output script of a 32-byte taproot output key (BIP 341). */
export function taprootScript(outputKey: Uint8Array): Uint8Array {
  return Uint8Array.of(OP_1, 32, ...outputKey);
}

/** Output script of a compressed public key's hash (BIP 141). */
export function witnessKeyHashScript(publicKey: Uint8Array): Uint8Array {
  return Uint8Array.of(OP_0, 20, ...hash160(publicKey));
}

/** The script that a P2WPKH signature commits to: pay to public key hash (BIP 143). */
export function keyHashScriptCode(keyHash: Uint8Array): Uint8Array {
  return Uint8Array.of(OP_DUP, OP_HASH160, 20, ...keyHash, OP_EQUALVERIFY, OP_CHECKSIG);
}

/** RIPEMD-160 of SHA-256, 20 bytes. */
export function hash160(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('ripemd160').update(sha256(bytes)).digest());
}

/** The shortest push of these bytes, at most 75 of them. */
export function pushBytes(bytes: Uint8Array): Uint8Array {
  return Uint8Array.of(bytes.length, ...bytes);
}

/** A number from 0 as scripts push it: what BIP 34 wants at the start of a coinbase. */
export function pushNumber(value: number): Uint8Array {
  if (value === 0) return Uint8Array.of(OP_0);
  if (value <= 16) return Uint8Array.of(OP_1 + value - 1);
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) bytes.push(rest % 256);
  // The top bit is the sign.
  if ((bytes[bytes.length - 1] ?? 0) >= 0x80) bytes.push(0);
  return pushBytes(Uint8Array.from(bytes));
}

/** Output script of OP_RETURN and one push; carries bytes and burns what it holds. */
export function returnScript(bytes: Uint8Array): Uint8Array {
  return Uint8Array.of(OP_RETURN, ...pushBytes(bytes));
}

/** True when the script is OP_RETURN followed by nothing but pushes. */
export function isReturnOfPushes(script: Uint8Array): boolean {
  if (script[0] !== OP_RETURN) return false;
  for (let at = 1; at < script.length; ) {
    const opcode = script[at] ?? 0;
    if (opcode > OP_16) return false;
    const next = opcode <= OP_PUSHDATA4 ? pushedLength(script, at + 1, opcode) : at + 1;
    if (next === undefined) return false;
    at = next;
  }
  return true;
}

/** Signature operations of a script read without running it, as blocks count them. Stops where the script breaks off. */
export function countSigops(script: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < script.length; ) {
    const opcode = script[at] ?? 0;
    at += 1;
    if (opcode <= OP_PUSHDATA4) {
      const pushed = pushedLength(script, at, opcode);
      if (pushed === undefined) return count;
      at = pushed;
    } else if (opcode === OP_CHECKSIG || opcode === OP_CHECKSIGVERIFY) {
      count += 1;
    } else if (opcode === OP_CHECKMULTISIG || opcode === OP_CHECKMULTISIGVERIFY) {
      count += MULTISIG_SIGOPS;
    }
  }
  return count;
}

/** Where the script goes on after a push, or undefined when it ends within. */
function pushedLength(script: Uint8Array, at: number, opcode: number): number | undefined {
  const width = opcode < OP_PUSHDATA1 ? 0 : opcode === OP_PUSHDATA1 ? 1 : opcode === OP_PUSHDATA2 ? 2 : 4;
  if (at + width > script.length) return undefined;
  let length = width === 0 ? opcode : 0;
  for (let i = width - 1; i >= 0; i--) length = length * 256 + (script[at + i] ?? 0);
  return at + width + length > script.length ? undefined : at + width + length;
}

function isPayToScriptHash(script: Uint8Array): boolean {
  return script.length === 23 && script[0] === OP_HASH160 && script[1] === 20 && script[22] === OP_EQUAL;
}

function isPayToPublicKeyHash(script: Uint8Array): boolean {
  const head = script[0] === OP_DUP && script[1] === OP_HASH160 && script[2] === 20;
  return script.length === 25 && head && script[23] === OP_EQUALVERIFY && script[24] === OP_CHECKSIG;
}
