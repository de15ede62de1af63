import { parse } from 'smol-toml';

/** One step of a path in the document: a key, or an index into an array. */
export type PathStep = PropertyKey;

/**
 * Offset of the place in a valid TOML text where a path was written, or that of its nearest parent that was; 0 when none
 * was. The parser gives positions only for syntax, so this walks the text once more; it runs for errors alone.
 */
export function locate(source: string, path: readonly PathStep[]): number {
  const wanted = path.map(String);
  let best = { length: 0, offset: 0 };
  const tables = new Map<string, number>();
  const see = (steps: readonly string[], offset: number): void => {
    let length = 0;
    while (length < steps.length && length < wanted.length && steps[length] === wanted[length]) length += 1;
    // A deeper statement of a parent counts as the parent's place when nothing nearer was written.
    if (length > best.length) best = { length, offset };
  };
  const scan = createScanner(source, see);
  let current: string[] = [];
  while (scan.skipBlank()) {
    const header = scan.header();
    if (header !== undefined) {
      current = [];
      for (const [position, key] of header.keys.entries()) {
        current.push(key);
        const id = JSON.stringify(current);
        const isLast = position === header.keys.length - 1;
        if (isLast && header.isArray) tables.set(id, (tables.get(id) ?? -1) + 1);
        const index = tables.get(id);
        if (index !== undefined) current.push(String(index));
      }
      see(current, header.offset);
    } else scan.pair(current);
  }
  return best.offset;
}

function createScanner(source: string, see: (steps: readonly string[], offset: number) => void) {
  let at = 0;
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  };
  const blank = (): void => {
    match(/(?:[ \t\n]|#[^\n]*)+/y);
  };
  const keys = (): string[] => {
    const found: string[] = [];
    do {
      match(/[ \t]+/y);
      const word = match(/"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+/y) ?? '';
      found.push(unquote(word));
      match(/[ \t]+/y);
    } while (match(/\./y) !== undefined);
    return found;
  };
  const value = (path: readonly string[]): void => {
    blank();
    if (match(/\[/y) !== undefined) {
      for (let index = 0; elements(/\]/y); index += 1) {
        see([...path, String(index)], at);
        value([...path, String(index)]);
      }
    } else if (match(/\{/y) !== undefined) {
      while (elements(/\}/y)) pair(path);
    } else {
      match(/"""(?:[^\\]|\\[\s\S])*?"""["]{0,2}|'''[\s\S]*?'''[']{0,2}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^,\]}#\n]+/y);
    }
  };
  const elements = (close: RegExp): boolean => {
    blank();
    match(/,/y);
    blank();
    return at < source.length && match(close) === undefined;
  };
  const pair = (path: readonly string[]): void => {
    const offset = at;
    const full = [...path, ...keys()];
    see(full, offset);
    // Anything but a key and its value means that the walk lost its way: stop rather than spin.
    if (match(/=/y) === undefined) at = source.length;
    else value(full);
  };
  return {
    /** Moves to the next statement; false at the end. */
    skipBlank(): boolean {
      blank();
      return at < source.length;
    },
    /** The header at this place, or undefined when a pair stands here. */
    header(): { keys: string[]; offset: number; isArray: boolean } | undefined {
      const offset = at;
      const open = match(/\[\[?/y);
      if (open === undefined) return undefined;
      const found = keys();
      match(/\]\]?/y);
      return { keys: found, offset, isArray: open === '[[' };
    },
    pair,
  };
}

function unquote(word: string): string {
  if (!word.startsWith('"') && !word.startsWith("'")) return word;
  return String(parse(`key = ${word}`).key);
}
