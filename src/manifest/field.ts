import { z } from 'zod';
import type { ErrorReason } from '../contract/error.js';
import { nearest } from '../core/nearest.js';

/** Shorter words, such as units, are alike by chance. */
const MIN_WORD_CHARS = 4;

/** Why one value was refused: a reason of the closed list and the rule in words. */
export interface Refusal {
  readonly refused: ErrorReason;
  readonly text: string;
}

/** Says no to a value; `text` completes "KEY …". */
export function refuse(reason: ErrorReason, text: string): Refusal {
  return { refused: reason, text };
}

function isRefusal(answer: unknown): answer is Refusal {
  return typeof answer === 'object' && answer !== null && 'refused' in answer;
}

/**
 * A field read by one rule. An absent field is FIELD_REQUIRED unless the rule is made `.optional()`; whatever the rule
 * refuses carries the rule's own reason, which zod's codes have no place for.
 */
export function field<T>(read: (value: unknown) => T | Refusal, absent: ErrorReason = 'FIELD_REQUIRED') {
  return z.unknown().transform((value, context): T => {
    const answer = value === undefined ? refuse(absent, 'is required') : read(value);
    if (!isRefusal(answer)) return answer;
    context.issues.push({ code: 'custom', input: value, message: answer.text, params: { reason: answer.refused } });
    return z.NEVER;
  });
}

/** A string of 1 to `max` characters that passes `test`; anything else is `reason`. */
export function text(reason: ErrorReason, max: number, rule: string, test: (value: string) => boolean = () => true) {
  return field((value) =>
    typeof value === 'string' && value.length >= 1 && value.length <= max && test(value)
      ? value
      : refuse(reason, `must be ${rule}`),
  );
}

/** A whole number from `min` to `max`; TOML integers arrive as bigint, so `1.0` is not taken for 1. */
export function integer(reason: ErrorReason, min: number, max: number) {
  return field(
    (value) =>
      typeof value === 'bigint' && value >= BigInt(min) && value <= BigInt(max)
        ? Number(value)
        : refuse(reason, `must be an integer from ${min} to ${max}`),
    reason === 'BAD_SIZE' ? 'BAD_SIZE' : 'FIELD_REQUIRED',
  );
}

/** `true` or `false`. */
export function boolean() {
  return field((value) => (typeof value === 'boolean' ? value : refuse('BAD_VALUE', 'must be true or false')));
}

/** One of a few words. */
export function word<const W extends string>(...words: W[]) {
  return field((value) => words.find((known) => known === value) ?? refuse('BAD_VALUE', `must be ${orList(words)}`));
}

/** An array of at most `max` elements; a longer one is refused before any element is read. */
export function list<S extends z.ZodType>(element: S, max: number, tooMany: ErrorReason = 'BAD_VALUE') {
  return field((value) =>
    !Array.isArray(value)
      ? refuse('BAD_VALUE', 'must be an array')
      : value.length > max
        ? refuse(tooMany, `must have at most ${max} elements, not ${value.length}`)
        : (value as unknown[]),
  ).pipe(z.array(element));
}

/** A table with these keys and no others; an unknown key is UNKNOWN_FIELD with the nearest known one. */
export function table<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? unknownKeyText(issue.keys?.[0] ?? '', Object.keys(shape))
        : 'must be a table',
  });
}

/**
 * A table whose keys the author chooses, read into a Map: a key such as `__proto__` is data to a Map and a trap to an
 * object. Keys go through `key`, values through `value`.
 */
export function map<S extends z.ZodType>(key: (key: string) => Refusal | undefined, value: S, max: number) {
  return z.unknown().transform((input, context): ReadonlyMap<string, z.output<S>> => {
    const fail = (message: string, reason: ErrorReason, path: PropertyKey[] = []): void => {
      context.issues.push({ code: 'custom', input, message, path, params: { reason } });
    };
    const result = new Map<string, z.output<S>>();
    if (!isTable(input)) {
      fail('must be a table', 'BAD_VALUE');
      return result;
    }
    const entries = Object.entries(input);
    if (entries.length > max) fail(`must have at most ${max} keys, not ${entries.length}`, 'BAD_VALUE');
    for (const [name, raw] of entries.slice(0, max)) {
      const badKey = key(name);
      if (badKey !== undefined) fail(badKey.text, badKey.refused, [name]);
      const read = value.safeParse(raw);
      if (read.success) result.set(name, read.data);
      else for (const issue of read.error.issues) context.issues.push(inside(name, issue));
    }
    return result;
  });
}

/** True for a TOML table: not an array, not a date. */
export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

/** "is not known; did you mean …" for a key among the known ones. */
export function unknownKeyText(key: string, known: readonly string[]): string {
  const near = nearest(key, known) ?? nearestByWords(key, known);
  return near === undefined
    ? `is not known here; known are ${known.join(', ')}`
    : `is not known; did you mean '${near}'?`;
}

/** The only key that shares a word, give or take a letter: `max_memroy` means `memory_mb`. */
function nearestByWords(key: string, known: readonly string[]): string | undefined {
  const words = key.split(/[_-]/).filter((word) => word.length >= MIN_WORD_CHARS);
  const alike = known.filter((candidate) => words.some((word) => nearest(word, candidate.split('_')) !== undefined));
  return alike.length === 1 ? alike[0] : undefined;
}

/** `'a', 'b' or 'c'`. */
export function orList(words: readonly string[]): string {
  return words.map((item) => `'${item}'`).join(' or ');
}

function inside(name: string, issue: z.core.$ZodIssue): z.core.$ZodRawIssue {
  return { ...issue, path: [name, ...issue.path] } as z.core.$ZodRawIssue;
}
