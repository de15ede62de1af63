import type { z } from 'zod';
import { readConfigValue } from './config-value.js';
import { boolean, field, list, type Refusal, refuse, table, word } from './field.js';
import { prose } from './rules.js';

/** Types of one configuration value; each also as an array, written `string[]`. */
const SCALARS = ['string', 'integer', 'boolean', 'bytes', 'duration', 'address'] as const;
const ARRAYS = ['string[]', 'integer[]', 'boolean[]', 'bytes[]', 'duration[]', 'address[]'] as const;

/**
 * Type of one configuration value: text; a whole number; true or false; bytes as hex; a duration like `90s` (ms, s, m, h
 * or d), which reaches the module as milliseconds; a Bitcoin address of any network; or an array of one of these.
 */
export type ConfigType = (typeof SCALARS)[number] | (typeof ARRAYS)[number];

/** One configuration value as JSON has it. */
export type ConfigValue = string | number | boolean | readonly (string | number | boolean)[];

/** What `[config]` says of one key. */
export interface ConfigField {
  readonly type: ConfigType;
  /** Used when the operator gives none; in the form that the module receives. */
  readonly default: ConfigValue | undefined;
  /** The operator must give it. */
  readonly required: boolean;
  /** Never shown in logs, status or dumps. */
  readonly secret: boolean;
  /** Lowest integer, shortest duration in milliseconds, least characters of a string or bytes of hex; of each element. */
  readonly min: number | undefined;
  /** Counterpart of `min`. */
  readonly max: number | undefined;
  /** The only values allowed, in the form that the module receives; empty = any. */
  readonly enum: readonly ConfigValue[];
  readonly description: string;
}

/** Most values of an enum: each is compared. */
const MAX_CHOICES = 256;

/** Why a text cannot be a configuration key, or undefined when it can. */
export function configKeyRefusal(key: string): Refusal | undefined {
  return /^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(key)
    ? undefined
    : refuse('BAD_VALUE', "must be a configuration key of letters, digits, '_' and '-', at most 64 characters");
}

/** Reads one entry of `[config]`; default and choices must pass the entry's own rules. */
export function configField() {
  return table({
    type: word(...SCALARS, ...ARRAYS),
    default: anything().optional(),
    required: boolean().optional(),
    secret: boolean().optional(),
    min: bound().optional(),
    max: bound().optional(),
    enum: list(anything(), MAX_CHOICES).optional(),
    description: prose().optional(),
  }).transform((raw, context): ConfigField => {
    const found: ConfigField = {
      type: raw.type,
      default: undefined,
      required: raw.required ?? false,
      secret: raw.secret ?? false,
      min: raw.min,
      max: raw.max,
      enum: [],
      description: raw.description ?? '',
    };
    const fail = (key: string, message: string): void => {
      context.issues.push({ code: 'custom', input: raw, message, path: [key], params: { reason: 'BAD_VALUE' } });
    };
    if ((raw.min ?? 0) > (raw.max ?? Number.MAX_SAFE_INTEGER)) fail('min', 'must not be above max');
    if (found.required && raw.default !== undefined)
      fail('default', 'is of no use where the operator must give a value');
    const choices = (raw.enum ?? []).map((choice) => readOne({ ...found, type: elementType(raw.type) }, choice));
    const checked = { ...found, enum: choices.filter((choice) => choice !== undefined) };
    if (checked.enum.length < choices.length) fail('enum', `has a value that is no ${elementType(raw.type)}`);
    if (raw.default === undefined) return checked;
    const fallback = readConfigValue(checked, raw.default);
    if ('refused' in fallback) fail('default', fallback.refused);
    return { ...checked, default: 'value' in fallback ? fallback.value : undefined };
  });
}

/** What `configField` reads. */
export type ConfigEntry = z.output<ReturnType<typeof configField>>;

/** The type of one element of an array type, or the type itself. */
export function elementType(type: ConfigType): (typeof SCALARS)[number] {
  return SCALARS.find((scalar) => type === scalar || type === `${scalar}[]`) ?? 'string';
}

function readOne(rules: ConfigField, value: unknown): ConfigValue | undefined {
  const answer = readConfigValue(rules, value);
  return 'value' in answer ? answer.value : undefined;
}

function anything() {
  return field((value) => value);
}

function bound() {
  return field((value) =>
    typeof value === 'bigint' && value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : refuse('BAD_VALUE', 'must be an integer of at most 53 bits'),
  );
}
