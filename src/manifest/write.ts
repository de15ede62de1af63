import { stringify } from 'smol-toml';

/**
 * The text of a module.toml with this document: tables of plain TOML values, integers as bigint.
 *
 * @param notes lines for people, put in front as comments
 */
export function writeManifest(document: Readonly<Record<string, unknown>>, notes: readonly string[] = []): string {
  const head = notes.map((note) => `# ${note.replaceAll(/[\r\n]+/g, ' ')}\n`).join('');
  return `${head}${head === '' ? '' : '\n'}${stringify(document).trimEnd()}\n`;
}
