/**
 * JSON whose numbers keep every digit. Bitcoin nodes print amounts as decimals of a bitcoin; through a double 0.29
 * becomes something that is not 29,000,000 satoshis by chance of rounding only, so no amount ever is one here.
 */

/** One number token of RFC 8259, from where it starts. */
const NUMBER = /-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;

/** Numbers of at most this many digits fit a double exactly: 2^53 has 16. */
const MAX_EXACT_DIGITS = 15;

/**
 * Parses JSON; numbers that are not small integers (a fraction, an exponent, more than 15 digits) arrive as strings
 * of their own text, all else as `JSON.parse` gives it.
 *
 * @throws SyntaxError when the text is no JSON
 */
export function parseLossless(text: string): unknown {
  return JSON.parse(quoteInexactNumbers(text));
}

/** The same text with every number that a double might change put in quotes. Broken JSON stays broken. */
export function quoteInexactNumbers(text: string): string {
  const parts: string[] = [];
  let copied = 0;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      at = afterString(text, at);
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      NUMBER.lastIndex = at;
      const match = NUMBER.exec(text);
      if (match === null) {
        at += 1;
        continue;
      }
      const [token, fraction, exponent] = match;
      // Only tokens that JSON itself allows may be quoted: quoting `01` would turn broken JSON into valid.
      if (isInexact(token, fraction, exponent) && !/^-?0[0-9]/.test(token)) {
        parts.push(text.slice(copied, at), '"', token, '"');
        copied = at + token.length;
      }
      at += token.length;
    } else {
      at += 1;
    }
  }
  if (copied === 0) return text;
  parts.push(text.slice(copied));
  return parts.join('');
}

function isInexact(token: string, fraction: string | undefined, exponent: string | undefined): boolean {
  return fraction !== undefined || exponent !== undefined || token.length > MAX_EXACT_DIGITS;
}

/** Index behind a string that starts at `start`; the end of the text when it never closes. */
function afterString(text: string, start: number): number {
  let from = start + 1;
  for (;;) {
    const quote = text.indexOf('"', from);
    if (quote === -1) return text.length;
    let backslashes = 0;
    while (text.charCodeAt(quote - 1 - backslashes) === 0x5c) backslashes += 1;
    if (backslashes % 2 === 0) return quote + 1;
    from = quote + 1;
  }
}
