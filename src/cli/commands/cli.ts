import type {
  ListCommandsResponse,
  ModuleCommands,
  RunCommandResponse,
} from '../../../gen/ts/modhost/admin/v1/command.js';
import type { CliSubcommand } from '../../../gen/ts/modhost/v1/rpc.js';
import { type AdminClient, callUnary } from '../../client/admin-client.js';
import { HostError } from '../../contract/error.js';
import { type AskFlags, type CommandContext, sayJson } from '../context.js';
import { EXIT } from '../exit.js';
import { listenToInterrupt } from '../interrupt.js';
import { commandHelp, commandSetHelp, commandSetLines } from '../module-command-text.js';
import { withHost } from '../reach.js';

/** Words that ask for help, unless the module has flags of these names. */
const HELP_WORDS: ReadonlySet<string> = new Set(['--help', '-h']);

/**
 * `modhost cli [NAME [COMMAND [ARGUMENTS...]]]`: runs a command of a module as if it were a program: its output is the
 * module's, byte for byte, and so is its exit code.
 */
export async function cli(context: CommandContext, words: readonly string[], flags: AskFlags): Promise<number> {
  const [name = '', subcommand = '', ...args] = words;
  return withHost(flags, context.env, async (client) => {
    if (name === '') return tellSets(context, await commandSets(client, ''), flags);
    if (subcommand === '' || HELP_WORDS.has(subcommand)) return tellSet(context, client, name, flags);
    const beforeDashes = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
    if (beforeDashes.some((word) => HELP_WORDS.has(word))) {
      const [set] = await commandSets(client, name);
      const command = set?.spec?.subcommands.find((known) => known.name === subcommand);
      if (set?.spec !== undefined && command !== undefined && !hasOwnHelp(command, beforeDashes)) {
        if (flags.json === true) sayJson(context, context.words().plain('modhost.v1.CliSubcommand', command));
        else for (const line of commandHelp(set.spec.name, command, context.terminal.paint)) context.terminal.say(line);
        return EXIT.ok;
      }
    }
    return runCommand(context, client, { name, subcommand, args }, flags);
  });
}

async function commandSets(client: AdminClient, name: string): Promise<ModuleCommands[]> {
  const { commands } = await callUnary<ListCommandsResponse>((done) => client.admin.listCommands({ name }, done));
  return commands;
}

function tellSets(context: CommandContext, sets: readonly ModuleCommands[], flags: AskFlags): number {
  const { terminal } = context;
  if (flags.json === true) {
    sayJson(
      context,
      sets.map((set) => context.words().plain('modhost.admin.v1.ModuleCommands', set)),
    );
  } else if (sets.length === 0) {
    terminal.tell('no running module has registered commands');
  } else {
    for (const line of commandSetLines(sets, terminal.paint)) terminal.say(line);
  }
  return EXIT.ok;
}

async function tellSet(context: CommandContext, client: AdminClient, name: string, flags: AskFlags): Promise<number> {
  const [set] = await commandSets(client, name);
  if (set === undefined) throw new HostError('METHOD_NOT_FOUND', `${name} has registered no commands`);
  if (flags.json === true) sayJson(context, context.words().plain('modhost.admin.v1.ModuleCommands', set));
  else for (const line of commandSetHelp(set, context.terminal.paint)) context.terminal.say(line);
  return EXIT.ok;
}

/** True when one of the words that ask for help is a flag of the command itself. */
function hasOwnHelp(command: CliSubcommand, args: readonly string[]): boolean {
  return command.arguments.some(
    ({ longName, shortName }) =>
      (longName === 'help' && args.includes('--help')) || (shortName === 'h' && args.includes('-h')),
  );
}

/** Ctrl-C gives the command up in the module as well; then the exit code is that of the signal. */
async function runCommand(
  context: CommandContext,
  client: AdminClient,
  command: { name: string; subcommand: string; args: string[] },
  flags: AskFlags,
): Promise<number> {
  const { terminal } = context;
  const interrupt = listenToInterrupt(context);
  const request = {
    ...command,
    terminal: terminal.interactive,
    columns: terminal.interactive ? terminal.size().columns : 0,
  };
  try {
    const answer = await callUnary<RunCommandResponse>(
      (done) => client.admin.runCommand(request, done),
      interrupt.signal,
    );
    if (flags.json === true) {
      sayJson(context, {
        name: command.name,
        subcommand: command.subcommand,
        exit_code: answer.exitCode,
        ...outputOf('stdout', answer.stdout),
        ...outputOf('stderr', answer.stderr),
      });
    } else {
      terminal.pass('stdout', answer.stdout);
      terminal.pass('stderr', answer.stderr);
    }
    return answer.exitCode;
  } catch (thrown) {
    const code = interrupt.code();
    if (code === undefined || HostError.from(thrown).reason !== 'CANCELLED') throw thrown;
    terminal.tell('modhost: CANCELLED: the command was given up');
    return code;
  } finally {
    interrupt.release();
  }
}

/** Text where the bytes are text; else they are told in Base64, under a key that says so. */
function outputOf(key: string, bytes: Uint8Array): Record<string, string> {
  try {
    return { [key]: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { [`${key}_base64`]: Buffer.from(bytes).toString('base64') };
  }
}
