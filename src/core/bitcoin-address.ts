import { createHash } from 'node:crypto';

/** Longest address, characters (BIP 173). */
const MAX_ADDRESS_CHARS = 90;

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const BECH32 = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
/** Generator of the checksum (BIP 173). */
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
/** What the checksum leaves: 1 for witness version 0 (BIP 173), the other for versions 1 to 16 (BIP 350). */
const BECH32_RESIDUE = 1;
const BECH32M_RESIDUE = 0x2bc830a3;

/**
 * True when a text is a Bitcoin address of any network: base58check of 20 bytes and a version, or a segwit address with
 * the right checksum and program length. One mistyped character is found; that the address is one's own is not.
 *
 * @see BIP 173, BIP 350
 */
export function isBitcoinAddress(text: string): boolean {
  return text.length <= MAX_ADDRESS_CHARS && (isBase58Address(text) || isSegwitAddress(text));
}

function isBase58Address(text: string): boolean {
  let number = 0n;
  for (const char of text) {
    const digit = BASE58.indexOf(char);
    if (digit < 0) return false;
    number = number * 58n + BigInt(digit);
  }
  // 1 byte of version, 20 of hash, 4 of checksum; leading zero bytes are written as leading ones.
  const bytes = Buffer.from(number.toString(16).padStart(50, '0'), 'hex');
  const zeros = bytes.findIndex((byte) => byte !== 0);
  if (bytes.length !== 25 || (/^1*/.exec(text)?.[0].length ?? 0) !== zeros) return false;
  const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();
  return sha256(sha256(bytes.subarray(0, 21)))
    .subarray(0, 4)
    .equals(bytes.subarray(21));
}

function isSegwitAddress(text: string): boolean {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) return false;
  const separator = lower.lastIndexOf('1');
  const prefix = lower.slice(0, separator);
  if (!['bc', 'tb', 'bcrt'].includes(prefix)) return false;
  const values = [...lower.slice(separator + 1)].map((char) => BECH32.indexOf(char));
  const version = values[0];
  if (values.includes(-1) || version === undefined || version > 16 || values.length < 7) return false;
  if (residue(prefix, values) !== (version === 0 ? BECH32_RESIDUE : BECH32M_RESIDUE)) return false;
  const bits = (values.length - 7) * 5;
  const length = Math.floor(bits / 8);
  const padding = bits - length * 8;
  if (padding > 4 || ((values.at(-7) ?? 0) & ((1 << padding) - 1)) !== 0) return false;
  return version === 0 ? length === 20 || length === 32 : length >= 2 && length <= 40;
}

function residue(prefix: string, values: readonly number[]): number {
  const codes = [...prefix].map((char) => char.charCodeAt(0));
  let check = 1;
  for (const value of [...codes.map((code) => code >> 5), 0, ...codes.map((code) => code & 31), ...values]) {
    const top = check >>> 25;
    check = ((check & 0x1ffffff) << 5) ^ value;
    GENERATOR.forEach((generator, bit) => {
      if ((top >> bit) & 1) check ^= generator;
    });
  }
  return check >>> 0;
}
