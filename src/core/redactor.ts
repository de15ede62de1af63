import { printable } from './printable.js';

/** What stands where a secret stood. */
export const REDACTED = '[secret]';
/**
 * Shortest text that is looked for, characters. Shorter ones are parts of ordinary words and numbers: taking them out would
 * spoil every line and tell by the gaps what was taken out.
 */
export const MIN_REDACTED_CHARS = 6;
/** Texts that are looked for at a time; beyond it the oldest are forgotten, so that a line costs no more than this. */
const MAX_TEXTS = 256;
/** Longest text that is looked for as a whole, characters: longer than any line that is kept. */
const MAX_TEXT_CHARS = 8 * 1024;

/** Takes known secrets out of what somebody else has written. */
export interface Redactor {
  /** Learns secrets, and the forms in which programs print them: escaped, in JSON, in a URL, line by line. */
  learn(secrets: Iterable<string>): void;
  redact(text: string): string;
  /** The same for a text that was cut at either end, perhaps in the middle of a secret. */
  redactCut(text: string): string;
}

/** Makes a redactor that knows no secret. */
export function createRedactor(): Redactor {
  const texts = new Set<string>();
  let pattern: RegExp | undefined;

  const redact = (text: string): string => (pattern === undefined ? text : text.replace(pattern, REDACTED));
  return {
    learn(secrets) {
      for (const secret of secrets) {
        for (const form of formsOf(secret)) {
          // those that are learnt again are the youngest again
          texts.delete(form);
          texts.add(form);
        }
      }
      for (const oldest of texts) {
        if (texts.size <= MAX_TEXTS) break;
        texts.delete(oldest);
      }
      // the longest first: one secret may begin with another
      const longestFirst = [...texts].sort((a, b) => b.length - a.length);
      pattern = longestFirst.length === 0 ? undefined : new RegExp(longestFirst.map(escapePattern).join('|'), 'gi');
    },
    redact,
    redactCut(text) {
      let whole = redact(text);
      for (const secret of texts) whole = withoutEnd(withoutStart(whole, secret), secret);
      return whole;
    },
  };
}

function formsOf(secret: string): string[] {
  const lines = secret.includes('\n') ? secret.split(/\r?\n/) : [];
  return [secret, ...lines]
    .flatMap((text) => [text, printable(text), JSON.stringify(text).slice(1, -1), urlForm(text)])
    .map((text) => text.trim().slice(0, MAX_TEXT_CHARS))
    .filter((text) => text.length >= MIN_REDACTED_CHARS);
}

/** Half a surrogate pair has no form in a URL. */
function urlForm(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

/** Without the rest of a secret whose beginning was cut away. */
function withoutStart(text: string, secret: string): string {
  for (let from = 1; from <= secret.length - MIN_REDACTED_CHARS; from += 1) {
    if (text.startsWith(secret.slice(from))) return REDACTED + text.slice(secret.length - from);
  }
  return text;
}

/** Without the beginning of a secret whose rest was cut away. */
function withoutEnd(text: string, secret: string): string {
  for (let length = secret.length - 1; length >= MIN_REDACTED_CHARS; length -= 1) {
    if (text.endsWith(secret.slice(0, length))) return text.slice(0, -length) + REDACTED;
  }
  return text;
}

function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
