/** JSON as Bitcoin Core writes it: amounts are numbers with exactly eight decimals, which JSON.stringify cannot print. */

/** A number that is printed by its own text. */
export class Verbatim {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Anything that an answer may hold; undefined members are left out. */
export type Json =
  | null
  | boolean
  | number
  | bigint
  | string
  | Verbatim
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };

const SATS_PER_BTC = 100_000_000n;

/** An amount of satoshis as Core prints it, in bitcoins. */
export function btc(sats: bigint): Verbatim {
  const size = sats < 0n ? -sats : sats;
  const fraction = (size % SATS_PER_BTC).toString().padStart(8, '0');
  return new Verbatim(`${sats < 0n ? '-' : ''}${size / SATS_PER_BTC}.${fraction}`);
}

/** The text of a value. */
export function encodeJson(value: Json): string {
  if (value instanceof Verbatim) return value.text;
  if (typeof value === 'bigint') return value.toString();
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(encodeJson).join(',')}]`;
  const members = Object.entries(value).flatMap(([key, member]) =>
    member === undefined ? [] : [`${JSON.stringify(key)}:${encodeJson(member)}`],
  );
  return `{${members.join(',')}}`;
}

function isList(value: object): value is readonly Json[] {
  return Array.isArray(value);
}
