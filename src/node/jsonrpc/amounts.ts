/** Satoshis in a bitcoin, as a power of ten. */
const DECIMALS = 8;

/** Largest exponent that a number of the node may carry; more is garbage and would cost memory. */
const MAX_EXPONENT = 30;

/**
 * Exact satoshis of a decimal in bitcoin, as nodes print amounts and fee rates: `0.00001`, `1e-08`, `50`.
 *
 * @returns undefined when the text is no decimal, or has digits below one satoshi
 */
export function bitcoinToSats(value: string | number): bigint | undefined {
  const match = /^(-?)([0-9]{1,20})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,3}))?$/.exec(String(value));
  if (match === null) return undefined;
  const [, sign, whole = '', fraction = '', exponentText = '0'] = match;
  const exponent = Number(exponentText);
  if (Math.abs(exponent) > MAX_EXPONENT) return undefined;
  const shift = DECIMALS - fraction.length + exponent;
  let digits = BigInt(whole + fraction);
  if (shift >= 0) {
    digits *= 10n ** BigInt(shift);
  } else {
    const divisor = 10n ** BigInt(-shift);
    if (digits % divisor !== 0n) return undefined;
    digits /= divisor;
  }
  return sign === '-' ? -digits : digits;
}

/**
 * Fee rate in satoshis per 1,000 virtual bytes of a decimal in bitcoin per kvB. Estimates of some nodes are averages
 * with digits below a satoshi; those are cut, since a rate is no amount.
 */
export function bitcoinPerKvbToSats(value: string | number): bigint | undefined {
  const exact = bitcoinToSats(value);
  if (exact !== undefined) return exact;
  const rate = Number(value);
  if (!Number.isFinite(rate) || Math.abs(rate) > 21_000_000) return undefined;
  return BigInt(Math.floor(rate * 1e8));
}

/** Decimal in bitcoin of an amount in satoshis, 0 or more; always with eight decimals. */
export function satsToBitcoin(sats: bigint): string {
  const digits = sats.toString().padStart(DECIMALS + 1, '0');
  return `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`;
}
