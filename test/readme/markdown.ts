import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/contract/descriptors.js';

export const ROOT = packageRoot();

/** With UPDATE_README=1 generated tables are written instead of compared. */
export const UPDATE = process.env.UPDATE_README === '1';

/** A fenced block of a page. */
export interface Fence {
  /** The word behind the fence, for example `ts`. */
  language: string;
  code: string;
}

export function readPage(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Every fenced block, in order. */
export function fences(page: string): Fence[] {
  return [...page.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({ language, code }));
}

/** The page without its fenced blocks: what people read as text. */
export function prose(page: string): string {
  return page.replace(/^```[\s\S]*?^```$/gm, '');
}

/** What stands between the markers of a generated section; with UPDATE_README=1 it is written first. */
export function generatedSection(path: string, section: string, made: string): string {
  const text = readPage(path);
  const [, before, inside, after] =
    new RegExp(`^([\\s\\S]*<!-- ${section}:[^\\n]*-->\\n)([\\s\\S]*)(<!-- /${section} -->[\\s\\S]*)$`).exec(text) ?? [];
  if (before === undefined || inside === undefined) throw new Error(`${path} has no section ${section}`);
  if (!UPDATE) return inside;
  writeFileSync(join(ROOT, path), before + made + after);
  return made;
}

/** A table of Markdown with an empty line on either side. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`);
  return `\n${lines.join('\n')}\n\n`;
}
