import type { GetStatusResponse, ListModulesResponse } from '../../../gen/ts/modhost/admin/v1/admin.js';
import { callUnary } from '../../client/admin-client.js';
import { HostError } from '../../contract/error.js';
import { nearest } from '../../core/nearest.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withProgress } from '../progress.js';
import { withHost } from '../reach.js';
import { hostLines, moduleLines } from '../status-text.js';
import { MODULE_STATUS, moduleTable } from './list.js';

/** `modhost status [NAME]`: host, node, containment, warnings and every module in full; or one module alone. */
export async function status(context: CommandContext, name: string, flags: AskFlags): Promise<number> {
  return name === '' ? wholeStatus(context, flags) : moduleStatus(context, name, flags);
}

async function moduleStatus(context: CommandContext, name: string, flags: AskFlags): Promise<number> {
  const { modules } = await withHost(flags, context.env, (client) =>
    callUnary<ListModulesResponse>((done) => client.admin.listModules({}, done)),
  );
  const found = modules.find((module) => module.name === name);
  if (found === undefined) {
    const near = nearest(
      name,
      modules.map((module) => module.name),
    );
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw new HostError('MODULE_NOT_FOUND', `no module ${name}${hint}`);
  }
  const words = context.words();
  if (flags.json === true) sayJson(context, words.plain(MODULE_STATUS, found));
  else for (const line of moduleLines(found, words, context.terminal.paint)) context.terminal.say(line);
  return EXIT.ok;
}

async function wholeStatus(context: CommandContext, flags: AskFlags): Promise<number> {
  const { terminal } = context;
  const answer = await withHost(flags, context.env, (client) =>
    withProgress(
      terminal,
      'asking host and node',
      callUnary<GetStatusResponse>((done) => client.admin.getStatus({}, done)),
    ),
  );
  const words = context.words();
  if (flags.json === true) {
    sayJson(context, words.plain('modhost.admin.v1.GetStatusResponse', answer));
    return EXIT.ok;
  }
  for (const line of hostLines(answer, words, terminal.paint)) terminal.say(line);
  if (answer.modules.length === 0) return EXIT.ok;
  terminal.say('');
  for (const line of moduleTable(context, answer.modules)) terminal.say(line);
  for (const module of answer.modules) {
    terminal.say('');
    for (const line of moduleLines(module, words, terminal.paint)) terminal.say(line);
  }
  return EXIT.ok;
}
