import type { GetStatusResponse } from '../../../gen/ts/modhost/admin/v1/admin.js';
import { callUnary } from '../../client/admin-client.js';
import { type AskFlags, type Command, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { withProgress } from '../progress.js';
import { withHost } from '../reach.js';
import { hostLines, moduleLines } from '../status-text.js';
import { moduleTable } from './list.js';

/** `modhost status`: host, node, containment, warnings and every module in full. */
export const status: Command<AskFlags> = async (context, flags) => {
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
};
