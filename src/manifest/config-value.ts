import { isBitcoinAddress } from '../core/bitcoin-address.js';
import type { ConfigField, ConfigValue } from './config-schema.js';

/** Longest text and longest array of a configuration value. */
const MAX_CONFIG_CHARS = 65_536;
const MAX_CONFIG_ELEMENTS = 1024;

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** A value in the form that the module receives, or why it was refused. */
export type ConfigAnswer = { readonly value: ConfigValue } | { readonly refused: string };

/** Reads one value, as TOML or JSON gave it, by the rules of its field. */
export function readConfigValue(rules: ConfigField, raw: unknown): ConfigAnswer {
  if (!rules.type.endsWith('[]')) return readScalar(rules, rules.type, raw);
  if (!Array.isArray(raw) || raw.length > MAX_CONFIG_ELEMENTS) {
    return { refused: `must be an array of at most ${MAX_CONFIG_ELEMENTS} elements` };
  }
  const values: (string | number | boolean)[] = [];
  for (const element of raw as unknown[]) {
    const answer = readScalar(rules, rules.type.slice(0, -2), element);
    if ('refused' in answer) return answer;
    values.push(answer.value);
  }
  return { value: values };
}

type ScalarAnswer = { readonly value: string | number | boolean } | { readonly refused: string };

function readScalar(rules: ConfigField, type: string, raw: unknown): ScalarAnswer {
  const value = ofType(type, raw);
  if (value === undefined) return { refused: `must be ${DESCRIPTION.get(type) ?? type}` };
  const measure = measureOf(type, value);
  if (measure !== undefined && rules.min !== undefined && measure < rules.min) {
    return { refused: `is below its minimum ${rules.min}` };
  }
  if (measure !== undefined && rules.max !== undefined && measure > rules.max) {
    return { refused: `is above its maximum ${rules.max}` };
  }
  if (rules.enum.length > 0 && !rules.enum.includes(value)) {
    // The value itself may be a secret; only the choices are told.
    return { refused: `must be one of ${rules.enum.join(', ')}` };
  }
  return { value };
}

const DESCRIPTION: ReadonlyMap<string, string> = new Map([
  ['string', 'a string'],
  ['integer', 'a whole number of at most 53 bits'],
  ['boolean', 'true or false'],
  ['bytes', 'bytes as an even number of hex digits'],
  ['duration', "a duration like '500ms', '90s', '10m', '6h' or '1d'"],
  ['address', 'a Bitcoin address with a right checksum'],
]);

function ofType(type: string, raw: unknown): string | number | boolean | undefined {
  if (type === 'boolean') return typeof raw === 'boolean' ? raw : undefined;
  if (type === 'integer') return wholeNumber(raw);
  if (typeof raw !== 'string' || raw.length > MAX_CONFIG_CHARS || raw.includes('\0')) return undefined;
  switch (type) {
    case 'bytes':
      return /^(?:[0-9a-f]{2})*$/i.test(raw) ? raw.toLowerCase() : undefined;
    case 'duration':
      return milliseconds(raw);
    case 'address':
      return isBitcoinAddress(raw) ? raw : undefined;
    default:
      return raw;
  }
}

function wholeNumber(raw: unknown): number | undefined {
  if (typeof raw !== 'bigint' && typeof raw !== 'number') return undefined;
  const value = Number(raw);
  return Number.isSafeInteger(value) && !Object.is(value, -0) ? value : undefined;
}

function milliseconds(raw: string): number | undefined {
  const match = /^([0-9]{1,15})(ms|s|m|h|d)$/.exec(raw);
  const value = Number(match?.[1]) * (UNIT_MS.get(match?.[2] ?? '') ?? Number.NaN);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** What `min` and `max` measure; booleans and addresses have nothing to measure. */
function measureOf(type: string, value: string | number | boolean): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value !== 'string' || type === 'address') return undefined;
  return type === 'bytes' ? value.length / 2 : [...value].length;
}
