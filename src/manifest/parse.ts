import type { z } from 'zod';
import { ERROR_REASONS, type ErrorReason, HostError } from '../contract/error.js';
import { printable } from '../core/printable.js';
import { buildManifest } from './build.js';
import { checkDocument } from './check.js';
import { isTable } from './field.js';
import { locate, type PathStep } from './locate.js';
import type { Manifest } from './manifest.js';
import { documentSchema } from './schema.js';
import { MAX_NESTING, parseToml, positionOf } from './text.js';

/** Highest `manifest_version` that this modhost reads. */
export const MANIFEST_VERSION = 1n;

/** Built once: making it costs more than reading a manifest with it, and it never changes. */
const DOCUMENT = documentSchema();

/** Keys of this form at top level are for other programs: signed with the rest, read by nobody here. */
const EXTENSION_KEY = /^x-/;

/**
 * Reads a module.toml: the whole grammar, strictly, with every default filled in. Nothing outside the bytes is looked
 * at, so the answer is the same on every machine; signatures are read, not verified.
 *
 * @param bytes the file as it lies on disk
 * @throws      HostError with the reason of the first rule broken, `line` and `column` in details and, where a key is
 *              to blame, its `path`
 * @see         founding document, "Module Manifest"
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  const { document, source } = parseToml(bytes);
  const fail = (reason: ErrorReason, path: readonly PathStep[], text: string): never => {
    const { line, column } = positionOf(source, locate(source, path));
    const name = printable(path.map(String).join('.').slice(0, MAX_MESSAGE_CHARS));
    throw new HostError(reason, printable(`module.toml, line ${line}: ${name} ${text}`.slice(0, MAX_MESSAGE_CHARS)), {
      details: { line, column, path: name },
    });
  };
  const asked = document.manifest_version;
  if (typeof asked === 'bigint' && asked > MANIFEST_VERSION) {
    fail('MANIFEST_TOO_NEW', ['manifest_version'], `is ${asked}; it needs a newer modhost`);
  }
  const known = Object.entries(document).filter(([key]) => !EXTENSION_KEY.test(key));
  // fromEntries defines keys, it does not assign them: `__proto__` stays a key and is refused as an unknown one.
  const read = DOCUMENT.safeParse(Object.fromEntries(known));
  if (!read.success) {
    const issue = firstIssue(read.error);
    return fail(reasonOf(issue), pathOf(issue), issue.message);
  }
  assertPlainValues(document, fail);
  checkDocument(read.data, fail);
  return buildManifest(read.data, document);
}

/** Longest message, characters: keys and values in it may be as long as the file. */
const MAX_MESSAGE_CHARS = 512;

function firstIssue(error: z.ZodError): z.core.$ZodIssue {
  const [issue] = error.issues;
  if (issue === undefined) throw new HostError('INTERNAL', 'a manifest was refused without a reason');
  return issue;
}

function reasonOf(issue: z.core.$ZodIssue): ErrorReason {
  if (issue.code === 'unrecognized_keys') return 'UNKNOWN_FIELD';
  const named: unknown = issue.code === 'custom' ? issue.params?.reason : undefined;
  return ERROR_REASONS.find((reason) => reason === named) ?? 'BAD_VALUE';
}

function pathOf(issue: z.core.$ZodIssue): readonly PathStep[] {
  return issue.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys.slice(0, 1)] : issue.path;
}

type Fail = (reason: ErrorReason, path: readonly PathStep[], text: string) => never;

/**
 * Refuses what would not survive signing, in every corner of the document, `x-` keys included: floats and dates (their
 * text form differs between languages), strings outside Unicode form C, NUL, and nesting that dotted keys made.
 */
function assertPlainValues(document: Record<string, unknown>, fail: Fail): void {
  const open: { value: unknown; path: readonly PathStep[] }[] = [{ value: document, path: [] }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, path } = next;
    if (path.length > MAX_NESTING) fail('MANIFEST_TOO_LARGE', path, `is nested deeper than ${MAX_NESTING}`);
    if (typeof value === 'number' || value instanceof Date) fail('BAD_VALUE', path, 'must not be a float or a date');
    if (typeof value === 'bigint' && BigInt.asIntN(64, value) !== value) fail('BAD_VALUE', path, 'is over 64 bits');
    if (typeof value === 'string') assertText(value, path, fail);
    if (Array.isArray(value))
      for (const [i, item] of value.entries()) open.push({ value: item as unknown, path: [...path, i] });
    else if (isTable(value)) {
      for (const [key, item] of Object.entries(value)) {
        assertText(key, path, fail);
        open.push({ value: item, path: [...path, key] });
      }
    }
  }
}

function assertText(text: string, path: readonly PathStep[], fail: Fail): void {
  if (text.includes('\0')) fail('BAD_VALUE', path, 'must not hold NUL');
  if (text !== text.normalize('NFC')) fail('BAD_VALUE', path, 'must be in Unicode normal form C');
}
