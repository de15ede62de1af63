import type { Command } from 'commander';
import type { ListCommandsResponse } from '../../../gen/ts/modhost/admin/v1/command.js';
import type { ModuleStatus } from '../../../gen/ts/modhost/admin/v1/status.js';
import { callUnary } from '../../client/admin-client.js';
import { createContractRegistry } from '../../contract/descriptors.js';
import { readEventTypes } from '../../contract/event-type.js';
import { printable } from '../../core/printable.js';
import { flagOf, isPositional } from '../../host/command-line.js';
import { type Candidate, type CompletionSources, complete } from '../completion.js';
import { completionScript, type Shell } from '../completion-scripts.js';
import type { AskFlags, CommandContext } from '../context.js';
import { eventTitle } from '../event-text.js';
import { EXIT } from '../exit.js';
import { withHost } from '../reach.js';

/** Longest wait for the names that a host knows, seconds: a person waits at the keyboard. */
const PATIENCE_S = 1;

/** `modhost completion SHELL`: the script for a shell, on standard output. */
export async function completion({ terminal }: CommandContext, shell: Shell): Promise<number> {
  terminal.say(completionScript(shell).trimEnd());
  return EXIT.ok;
}

/** `modhost complete -- WORDS...`: what may stand in the place of the last word, one a line; what the scripts ask. */
export async function completeWords(
  context: CommandContext,
  program: Command,
  words: readonly string[],
): Promise<number> {
  const offer = await complete(program, words, createSources(context, words));
  if (offer === 'files') context.terminal.say(':files');
  else {
    const lines = offer.map(([word, about]) => `${word}\t${printable(about.replaceAll('\t', ' '))}`);
    if (lines.length > 0) context.terminal.say(lines.join('\n'));
  }
  return EXIT.ok;
}

/** Asks the host that the command line so far names; whatever goes wrong, there is nothing to offer. */
function createSources(context: CommandContext, words: readonly string[]): CompletionSources {
  const flags: AskFlags = { ...placeIn(words, context.env), timeout: PATIENCE_S };
  const asked = async <T>(work: () => Promise<T[]>): Promise<T[]> => work().catch(() => []);
  const sets = () =>
    asked(() =>
      withHost(flags, context.env, async (client) => {
        const { commands } = await callUnary<ListCommandsResponse>((done) =>
          client.admin.listCommands({ name: '' }, done),
        );
        return commands;
      }),
    );
  return {
    modules: () =>
      asked(() =>
        withHost(flags, context.env, async (client) => {
          const { modules } = await callUnary<{ modules: ModuleStatus[] }>((done) =>
            client.admin.listModules({}, done),
          );
          return modules.map(({ name, description }): Candidate => [name, description]);
        }),
      ),
    async moduleCommands(set, command) {
      const all = await sets();
      if (set === undefined) return all.map(({ spec }): Candidate => [spec?.name ?? '', spec?.about ?? '']);
      const spec = (all.find((one) => one.spec?.name === set) ?? all.find(({ module }) => module === set))?.spec;
      if (command === undefined) return (spec?.subcommands ?? []).map(({ name, about }): Candidate => [name, about]);
      const known = spec?.subcommands.find(({ name }) => name === command)?.arguments ?? [];
      return known
        .filter((argument) => !isPositional(argument))
        .map((argument): Candidate => [flagOf(argument), argument.about]);
    },
    events: () =>
      readEventTypes(createContractRegistry())
        .all.filter(({ name }) => name !== 'TOPIC')
        .map(({ name }): Candidate => [eventTitle(name), '']),
  };
}

/** What says which host is meant: flags, as far as they have been typed, else the environment. */
function placeIn(words: readonly string[], env: NodeJS.ProcessEnv): AskFlags {
  const after = (...flags: string[]): string | undefined => {
    const at = words.findIndex((word) => flags.includes(word));
    // bash gives the "=" of --flag=value as a word of its own
    const value = at < 0 ? undefined : words[at + 1] === '=' ? words[at + 2] : words[at + 1];
    return at < 0 || at + 1 >= words.length - 1 ? undefined : value;
  };
  const config = after('-c', '--config') ?? env.MODHOST_CONFIG;
  const socketDir = after('--socket-dir') ?? env.MODHOST_SOCKET_DIR;
  const network = after('--network') ?? env.MODHOST_NETWORK;
  return {
    ...(config === undefined ? {} : { config }),
    ...(socketDir === undefined ? {} : { socketDir }),
    ...(network === undefined ? {} : { network }),
  };
}
