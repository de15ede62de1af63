import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { ApplyConfigResponse } from '../../../gen/ts/modhost/admin/v1/config.js';
import { callUnary } from '../../client/admin-client.js';
import { HostError } from '../../contract/error.js';
import { printable } from '../../core/printable.js';
import { checkNodeTable } from '../../host/open-node.js';
import { parseOperatorFile } from '../../manifest/operator.js';
import { checkModules } from '../check-modules.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { defaultPlaces } from '../places.js';
import { withProgress } from '../progress.js';
import { withHost } from '../reach.js';
import { SAMPLE_CONFIG } from '../sample.js';
import { findConfig } from '../settings.js';
import { tableLines } from '../table.js';

/** `modhost config example`: the operator's file with every key, commented. */
export async function configExample({ terminal }: CommandContext): Promise<number> {
  terminal.say(SAMPLE_CONFIG.trimEnd());
  return EXIT.ok;
}

/** Flags of `modhost config check`. */
export interface CheckFlags {
  config?: string;
  modulesDir?: string;
  json?: boolean;
}

/**
 * `modhost config check [FILE]`: reads a file as `modhost run` would, with what the manifests of its modules make of their
 * tables, and starts nothing. Everything that is wrong with modules is told; exit code 2 when anything is.
 */
export async function configCheck(context: CommandContext, named: string | undefined, flags: CheckFlags) {
  const file = named ?? findConfig(flags.config, context.env).file;
  if (file === undefined) throw new HostError('BAD_CONFIG', 'there is no file; name one');
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
  const dataDir = config.paths.data ?? defaultPlaces(context.env).data;
  const modulesDir = flags.modulesDir ?? config.paths.modules ?? join(dataDir, 'modules');
  const { problems, hints } = checkModules(config.modules, resolve(modulesDir), context.env);
  const ok = problems.length === 0;
  if (flags.json === true) {
    const modules = Object.keys(config.modules);
    sayJson(context, { file: path, ok, node: node?.kind ?? null, modules, unsigned, problems, hints });
  } else {
    const { terminal } = context;
    for (const { reason, message } of problems) {
      terminal.tell(`${terminal.paintError('red', reason)}: ${printable(message)}`);
    }
    for (const hint of hints) terminal.tell(printable(hint));
    if (ok) terminal.say(`${file} is well-formed`);
    if (unsigned.length > 0) terminal.tell(`it lets run UNSIGNED: ${unsigned.join(', ')}`);
  }
  return ok ? EXIT.ok : EXIT.usage;
}

/** `modhost config apply`: a running host reads its file anew, and modules take what has changed. */
export async function configApply(context: CommandContext, flags: AskFlags): Promise<number> {
  const { terminal } = context;
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      terminal,
      'applying the configuration',
      callUnary<ApplyConfigResponse>((done) => client.admin.applyConfig({}, done)),
    ),
  );
  const words = context.words();
  const nameOf = (outcome: number): string => words.enumName('modhost.admin.v1.ConfigOutcome', outcome);
  const isRefused = answer.changes.some(({ outcome }) => nameOf(outcome) === 'REFUSED');
  if (flags.json === true) {
    sayJson(context, words.plain('modhost.admin.v1.ApplyConfigResponse', answer));
    return isRefused ? EXIT.failed : EXIT.ok;
  }
  type Change = ApplyConfigResponse['changes'][number];
  const lines = tableLines<Change>(
    answer.changes,
    [
      { title: 'MODULE', cell: ({ module }) => module },
      { title: 'OUTCOME', cell: ({ outcome }) => OUTCOMES.get(nameOf(outcome)) ?? '' },
      { title: 'KEYS', cell: ({ changedKeys }) => changedKeys.join(' ') },
    ],
    terminal.paint,
  );
  if (answer.changes.length > 0) for (const line of lines) terminal.say(line);
  else terminal.say('no table of a module has changed');
  for (const { module, failure } of answer.changes) {
    if (failure !== undefined) terminal.tell(`${module}: ${printable(failure.message)}`);
  }
  if (answer.needsRestart.length > 0) {
    terminal.say(`the host itself takes these when it starts again: ${answer.needsRestart.join(', ')}`);
  }
  return isRefused ? EXIT.failed : EXIT.ok;
}

const OUTCOMES: ReadonlyMap<string, string> = new Map([
  ['APPLIED', 'in force'],
  ['AT_NEXT_START', 'at its next start'],
  ['REFUSED', 'REFUSED, the old one stays'],
]);
