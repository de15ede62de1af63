import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { HostError } from '../../contract/error.js';
import { checkNodeTable } from '../../host/open-node.js';
import { parseOperatorFile } from '../../manifest/operator.js';
import { type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { SAMPLE_CONFIG } from '../sample.js';

/** `modhost config example`: the operator's file with every key, commented. */
export async function configExample({ terminal }: CommandContext): Promise<number> {
  terminal.say(SAMPLE_CONFIG.trimEnd());
  return EXIT.ok;
}

/** `modhost config check FILE`: reads a file as `modhost run` would, and starts nothing. */
export async function configCheck(context: CommandContext, file: string, flags: { json?: boolean }): Promise<number> {
  const path = resolve(file);
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new HostError('BAD_CONFIG', `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const config = parseOperatorFile(bytes, { baseDir: dirname(path), file });
  const { node } = config;
  if (node !== undefined) {
    checkNodeTable({ ...node, fail: (keys, text) => config.fail(['node', ...keys], text) });
  }
  const unsigned = Object.entries(config.modules)
    .filter(([, table]) => table.unsigned === true)
    .map(([name]) => name);
  if (flags.json === true) {
    sayJson(context, {
      file: path,
      ok: true,
      node: node?.kind ?? null,
      modules: Object.keys(config.modules),
      unsigned,
    });
  } else {
    context.terminal.say(`${file} is well-formed`);
    if (unsigned.length > 0) context.terminal.tell(`it lets run UNSIGNED: ${unsigned.join(', ')}`);
  }
  return EXIT.ok;
}
