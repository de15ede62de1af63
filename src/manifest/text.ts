import { parse, TomlError } from 'smol-toml';
import { HostError } from '../contract/error.js';

/** Largest module.toml, bytes: the host parses it on its own thread, before it trusts anybody. */
export const MAX_MANIFEST_BYTES = 64 * 1024;

/** Deepest nesting of tables and arrays; the grammar itself needs 4, `x-` keys get some room. */
export const MAX_NESTING = 16;

/**
 * The TOML document in the bytes of a module.toml: null-prototype tables, integers as bigint.
 *
 * TOML libraries differ in what they forgive, and the same bytes must mean the same to every one that checks a
 * signature: so a byte order mark, lone carriage returns and control characters are refused, CRLF becomes LF.
 *
 * @param file name of the file in messages
 * @throws HostError MANIFEST_TOO_LARGE before anything is parsed; MANIFEST_SYNTAX with `line` and `column` in details
 */
export function parseToml(
  bytes: Uint8Array,
  file = 'module.toml',
): { document: Record<string, unknown>; source: string } {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) {
    throw new HostError('MANIFEST_TOO_LARGE', `${file} is over ${MAX_MANIFEST_BYTES} bytes`);
  }
  const source = decode(bytes, file);
  assertShallow(source, file);
  try {
    return { document: parse(source, { integersAsBigInt: true, maxDepth: 2 * MAX_NESTING }), source };
  } catch (error) {
    if (!(error instanceof TomlError)) throw syntaxError(file, source, 0, 'cannot be read', error);
    const [text = ''] = error.message.replace('Invalid TOML document: ', '').split('\n');
    throw new HostError('MANIFEST_SYNTAX', `${file}, line ${error.line}, column ${error.column}: ${text}`, {
      details: { line: error.line, column: error.column },
    });
  }
}

function decode(bytes: Uint8Array, file: string): string {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new HostError('MANIFEST_SYNTAX', `${file} is not UTF-8`, {
      details: { line: 1, column: 1 },
      cause: error,
    });
  }
  if (text.startsWith('\ufeff')) throw syntaxError(file, text, 0, 'a byte order mark is not accepted');
  const source = text.replaceAll('\r\n', '\n');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: finding them is the purpose
  const control = source.search(/[\x00-\x08\x0b-\x1f\x7f]/);
  if (control >= 0)
    throw syntaxError(file, source, control, 'a control character or lone carriage return is not accepted');
  return source;
}

/**
 * Refuses deep brackets before the parser recurses into them. It steps over strings and comments in one pass; where the
 * text is no TOML it stops, and the parser says so.
 */
function assertShallow(source: string, file: string): void {
  let depth = 0;
  for (let at = 0; at < source.length; at += 1) {
    const char = source.charAt(at);
    if (char === '[' || char === '{') depth += 1;
    else if (char === ']' || char === '}') depth = Math.max(0, depth - 1);
    else if (char === '"' || char === "'") at = endOfString(source, at, char);
    else if (char === '#') at = endOf(source, '\n', at);
    if (depth > MAX_NESTING) {
      const { line, column } = positionOf(source, at);
      throw new HostError('MANIFEST_TOO_LARGE', `${file} is nested deeper than ${MAX_NESTING}, line ${line}`, {
        details: { line, column },
      });
    }
  }
}

/** Offset of the last character of the string that begins at `start`; that of the text when it has no end. */
function endOfString(source: string, start: number, quote: string): number {
  const mark = source.startsWith(quote.repeat(3), start) ? quote.repeat(3) : quote;
  if (quote === "'") return lastQuote(source, endOf(source, mark, start + mark.length), quote, mark);
  for (let at = start + mark.length; at < source.length; at += 1) {
    if (source.charAt(at) === '\\') at += 1;
    else if (source.startsWith(mark, at)) return lastQuote(source, at + mark.length - 1, quote, mark);
  }
  return source.length;
}

/** A multi-line string may end in up to two quotes of its own before the closing three. */
function lastQuote(source: string, at: number, quote: string, mark: string): number {
  if (mark.length === 1 || source.charAt(at + 1) !== quote) return at;
  return source.charAt(at + 2) === quote ? at + 2 : at + 1;
}

function endOf(source: string, mark: string, from: number): number {
  const found = source.indexOf(mark, from);
  return found < 0 ? source.length : found + mark.length - 1;
}

/** Line and column of an offset, both from 1. */
export function positionOf(source: string, offset: number): { line: number; column: number } {
  const before = source.slice(0, offset);
  const lineStart = before.lastIndexOf('\n') + 1;
  return { line: before.split('\n').length, column: offset - lineStart + 1 };
}

function syntaxError(file: string, source: string, offset: number, text: string, cause?: unknown): HostError {
  const { line, column } = positionOf(source, offset);
  return new HostError('MANIFEST_SYNTAX', `${file}, line ${line}, column ${column}: ${text}`, {
    details: { line, column },
    cause,
  });
}
