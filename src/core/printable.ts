/**
 * Characters that move a terminal's cursor, colour or reading direction, or end a log line: C0 and C1 controls, line and
 * paragraph separators, bidirectional marks and overrides, zero-width and other format characters, lone surrogates.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * The text with every unprintable character but the tab written as `\xNN` or `\u{N}`, so that a hostile author can
 * neither forge a second line nor repaint a terminal.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (char) => {
    if (char === '\t') return char;
    const code = char.codePointAt(0) ?? 0;
    return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

/** Stands at the end of a text that was cut. */
const CUT_MARK = '…';

/** The longest beginning of a text that takes at most `maxBytes` in UTF-8; no character is cut in two. */
export function cutBytes(text: string, maxBytes: number): string {
  // no UTF-16 unit takes more than three bytes
  if (text.length * 3 <= maxBytes) return text;
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(maxBytes)).read);
}

/** Printable form of a text of any length, at most `maxBytes` in UTF-8; a cut is marked. */
export function printableBytes(text: string, maxBytes: number): string {
  const kept = cutBytes(text, maxBytes);
  const escaped = printable(kept);
  if (kept.length === text.length && Buffer.byteLength(escaped) <= maxBytes) return escaped;
  const mark = maxBytes < Buffer.byteLength(CUT_MARK) ? '' : CUT_MARK;
  return cutBytes(escaped, maxBytes - Buffer.byteLength(mark)) + mark;
}

/** Printable form of a text of any length, at most `maxChars` characters long; a cut is marked. */
export function printableLine(text: string, maxChars: number): string {
  const escaped = printable(text.length > maxChars ? text.slice(0, maxChars) : text);
  if (escaped.length <= maxChars && text.length <= maxChars) return escaped;
  return escaped.slice(0, Math.max(0, maxChars - CUT_MARK.length)) + CUT_MARK;
}
