/** A small wallet of one P2WPKH key for nodes that have none of their own, written apart from devchain's. */
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { ripemd160 } from '@noble/hashes/legacy.js';
import { hash256, sha256 } from '../../src/core/bitcoin/hash.js';
import { serializeTransaction, type Transaction, txid, vsize } from '../../src/core/bitcoin/transaction.js';
import { ByteWriter } from '../../src/core/bitcoin/writer.js';

/** An output that the wallet owns. */
export interface Coin {
  txid: Uint8Array;
  index: number;
  valueSats: bigint;
}

/** What a spend looks like. */
export interface SpendShape {
  /** Fee, satoshis. */
  feeSats: bigint;
  /** Amount of an extra OP_RETURN output, satoshis. */
  burnSats?: bigint | undefined;
}

/** A signed transaction and the coin that it gives back to the wallet. */
export interface SignedSpend {
  raw: Uint8Array;
  txid: Uint8Array;
  vsize: number;
  change: Coin;
}

/** One key, its regtest address and its signatures. */
export interface Wallet {
  /** Bech32 address of regtest (BIP 173). */
  readonly address: string;
  readonly scriptPubkey: Uint8Array;
  /** Spends one coin whole: back to the wallet, less fee and burn. */
  spend(coin: Coin, shape: SpendShape): SignedSpend;
}

const SIGHASH_ALL = 1;
/** Signals that a replacement is welcome (BIP 125). */
const REPLACEABLE = 0xffff_fffd;

/** A wallet of the key, 32 bytes. */
export function createWallet(secretKey: Uint8Array): Wallet {
  const publicKey = secp256k1.getPublicKey(secretKey, true);
  const program = ripemd160(sha256(publicKey));
  const scriptPubkey = Uint8Array.of(0x00, 0x14, ...program);

  const spend = (coin: Coin, shape: SpendShape): SignedSpend => {
    const burn = shape.burnSats ?? 0n;
    const back = { valueSats: coin.valueSats - shape.feeSats - burn, scriptPubkey };
    const burned = { valueSats: burn, scriptPubkey: Uint8Array.of(0x6a, 0x04, 0x62, 0x75, 0x72, 0x6e) };
    const transaction: Transaction = {
      version: 2,
      inputs: [
        {
          outpoint: { txid: coin.txid, index: coin.index },
          scriptSig: new Uint8Array(),
          sequence: REPLACEABLE,
          witness: [],
        },
      ],
      outputs: shape.burnSats === undefined ? [back] : [back, burned],
      lockTime: 0,
    };
    const digest = segwitDigest(transaction, coin, program);
    // The digest is final: BIP 143 hashes it twice already.
    const signature = secp256k1.sign(digest, secretKey, { prehash: false, format: 'der' });
    for (const input of transaction.inputs) input.witness = [Uint8Array.of(...signature, SIGHASH_ALL), publicKey];
    const id = txid(transaction);
    return {
      raw: serializeTransaction(transaction, { witness: true }),
      txid: id,
      vsize: vsize(transaction),
      change: { txid: id, index: 0, valueSats: back.valueSats },
    };
  };

  return { address: segwitAddress('bcrt', program), scriptPubkey, spend };
}

/** Signature hash of the only input. @see BIP 143 */
function segwitDigest(transaction: Transaction, coin: Coin, program: Uint8Array): Uint8Array {
  const [input] = transaction.inputs;
  if (input === undefined) throw new Error('a spend has one input');
  const outpoint = new ByteWriter(36);
  outpoint.bytes(coin.txid);
  outpoint.uint32(coin.index);
  const sequence = new ByteWriter(4);
  sequence.uint32(input.sequence);
  const size = transaction.outputs.reduce((sum, output) => sum + 9 + output.scriptPubkey.byteLength, 0);
  const outputs = new ByteWriter(size);
  for (const output of transaction.outputs) {
    outputs.uint64(output.valueSats);
    outputs.lengthPrefixed(output.scriptPubkey);
  }
  const prevout = outpoint.done();
  const scriptCode = Uint8Array.of(0x76, 0xa9, 0x14, ...program, 0x88, 0xac);
  const preimage = new ByteWriter(4 + 32 + 32 + 36 + 26 + 8 + 4 + 32 + 4 + 4);
  preimage.uint32(transaction.version);
  preimage.bytes(hash256(prevout));
  preimage.bytes(hash256(sequence.done()));
  preimage.bytes(prevout);
  preimage.lengthPrefixed(scriptCode);
  preimage.uint64(coin.valueSats);
  preimage.uint32(input.sequence);
  preimage.bytes(hash256(outputs.done()));
  preimage.uint32(transaction.lockTime);
  preimage.uint32(SIGHASH_ALL);
  return hash256(preimage.done());
}

const BECH32_DIGITS = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
const BECH32_GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const BECH32_CHECK_SYMBOLS = 6;

/** Address of a version 0 witness program. @see BIP 173 */
function segwitAddress(prefix: string, program: Uint8Array): string {
  const symbols = [0, ...regroup(program)];
  const letters = [...prefix].map((letter) => letter.charCodeAt(0));
  const expanded = [...letters.map((code) => code >> 5), 0, ...letters.map((code) => code & 31)];
  const check = polymod([...expanded, ...symbols, ...new Array<number>(BECH32_CHECK_SYMBOLS).fill(0)]) ^ 1;
  for (let i = BECH32_CHECK_SYMBOLS - 1; i >= 0; i--) symbols.push((check >> (5 * i)) & 31);
  return `${prefix}1${symbols.map((symbol) => BECH32_DIGITS[symbol]).join('')}`;
}

function regroup(bytes: Uint8Array): number[] {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((group) => Number.parseInt(group.padEnd(5, '0'), 2));
}

function polymod(symbols: readonly number[]): number {
  let check = 1;
  for (const symbol of symbols) {
    const top = check >>> 25;
    check = ((check & 0x1ff_ffff) << 5) ^ symbol;
    BECH32_GENERATOR.forEach((value, i) => {
      if ((top >> i) & 1) check ^= value;
    });
  }
  return check >>> 0;
}
