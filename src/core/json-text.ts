/**
 * JSON as text: found whole or in parts, never turned into values and back, so that every digit of an amount stays what
 * it was. Strict by RFC 8259; works on a string of any encoding whose characters below 128 are ASCII.
 */

/** Deepest nesting that is accepted: what Bitcoin Core's own parser takes (univalue, MAX_JSON_DEPTH). */
export const MAX_JSON_DEPTH = 512;

/** Where a value begins and ends in its text. */
export interface JsonSpan {
  readonly start: number;
  /** Index behind its last character. */
  readonly end: number;
}

/** Where a text stops being JSON. */
export class JsonSyntaxError extends SyntaxError {
  readonly at: number;

  constructor(what: string, at: number) {
    super(`${what} at character ${at}`);
    this.name = 'JsonSyntaxError';
    this.at = at;
  }
}

/** Kind of a JSON value. */
export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';

/**
 * The one value of a text, without the white space around it.
 *
 * @throws JsonSyntaxError when the text is no JSON, or is nested deeper than MAX_JSON_DEPTH
 */
export function jsonSpan(text: string): JsonSpan {
  const start = afterSpace(text, 0);
  const end = afterValue(text, start);
  const rest = afterSpace(text, end);
  if (rest !== text.length) throw new JsonSyntaxError('something behind the value', rest);
  return { start, end };
}

/** True when the text is one JSON value. */
export function isJson(text: string): boolean {
  try {
    jsonSpan(text);
    return true;
  } catch {
    return false;
  }
}

/** Kind of the valid value that begins at `start`. */
export function jsonKind(text: string, start = 0): JsonKind {
  switch (text[start]) {
    case '{':
      return 'object';
    case '[':
      return 'array';
    case '"':
      return 'string';
    case 't':
    case 'f':
      return 'boolean';
    case 'n':
      return 'null';
    default:
      return 'number';
  }
}

/** Members of a valid object, in their order, by unescaped name; a name may come twice. */
export function jsonMembers(text: string, object: JsonSpan): [name: string, value: JsonSpan][] {
  const members: [string, JsonSpan][] = [];
  let at = afterSpace(text, object.start + 1);
  while (text.charCodeAt(at) !== CLOSE_BRACE) {
    const nameEnd = afterString(text, at);
    const name = JSON.parse(text.slice(at, nameEnd)) as string;
    const start = afterSpace(text, afterSpace(text, nameEnd) + 1);
    const end = afterValue(text, start);
    members.push([name, { start, end }]);
    at = afterSpace(text, end);
    if (text.charCodeAt(at) === COMMA) at = afterSpace(text, at + 1);
  }
  return members;
}

/** Items of a valid array, in their order. */
export function jsonItems(text: string, array: JsonSpan): JsonSpan[] {
  const items: JsonSpan[] = [];
  let start = afterSpace(text, array.start + 1);
  while (text.charCodeAt(start) !== CLOSE_BRACKET) {
    const end = afterValue(text, start);
    items.push({ start, end });
    start = afterSpace(text, end);
    if (text.charCodeAt(start) === COMMA) start = afterSpace(text, start + 1);
  }
  return items;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const ESCAPE = /["\\/bfnrt]|u[0-9a-fA-F]{4}/y;

function afterSpace(text: string, from: number): number {
  let at = from;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at;
    at += 1;
  }
}

/** Index behind a pattern that must match here. */
function afterMatch(pattern: RegExp, text: string, at: number, what: string): number {
  pattern.lastIndex = at;
  if (!pattern.test(text)) throw new JsonSyntaxError(what, at);
  return pattern.lastIndex;
}

function afterString(text: string, start: number): number {
  if (text.charCodeAt(start) !== QUOTE) throw new JsonSyntaxError('no string', start);
  let at = start + 1;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    if (code === BACKSLASH) at = afterMatch(ESCAPE, text, at + 1, 'no escape');
    // also false behind the end, where the code is NaN
    else if (code >= 0x20) at += 1;
    else throw new JsonSyntaxError('a string that does not end', at);
  }
}

/** Index behind the value that begins here. Keeps its own stack: the text's author decides how deep it goes. */
function afterValue(text: string, start: number): number {
  /** Closing brackets that are waited for, the innermost last. */
  const open: number[] = [];
  let at = start;
  const member = (): void => {
    at = afterSpace(text, afterString(text, at));
    if (text.charCodeAt(at) !== COLON) throw new JsonSyntaxError('no colon', at);
    at = afterSpace(text, at + 1);
  };
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (open.length >= MAX_JSON_DEPTH) throw new JsonSyntaxError('nested too deep', at);
      const close = code === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET;
      at = afterSpace(text, at + 1);
      if (text.charCodeAt(at) !== close) {
        open.push(close);
        if (close === CLOSE_BRACE) member();
        continue;
      }
      at += 1;
    } else if (code === QUOTE) at = afterString(text, at);
    else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) at = afterMatch(NUMBER, text, at, 'no number');
    else at = afterMatch(WORD, text, at, 'no value');
    // a value has ended: as many brackets close as follow, then the next value begins
    for (;;) {
      const close = open.at(-1);
      if (close === undefined) return at;
      at = afterSpace(text, at);
      const next = text.charCodeAt(at);
      if (next === close) {
        open.pop();
        at += 1;
        continue;
      }
      if (next !== COMMA) throw new JsonSyntaxError('no comma', at);
      at = afterSpace(text, at + 1);
      if (close === CLOSE_BRACE) member();
      break;
    }
  }
}
