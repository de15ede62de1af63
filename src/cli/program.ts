import { Command, CommanderError } from 'commander';
import { HostError } from '../contract/error.js';
import { printable } from '../core/printable.js';
import { readHostVersion } from '../host/version.js';
import type { CommandContext } from './context.js';
import { EXIT, exitCodeOf } from './exit.js';
import type { Done } from './tree/branch.js';
import { addHost } from './tree/host.js';
import { addModules } from './tree/modules.js';
import { addNode } from './tree/node.js';
import { addShell } from './tree/shell.js';
import { addWatching } from './tree/watching.js';

/** Closes every help page. */
const CLOSING = `
exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no host runs, 4 refused by policy,
            130 and 143 ended at once by a second SIGINT or SIGTERM`;

/**
 * Runs one command line. Commands are loaded when they are called, so that short ones stay quick.
 *
 * @param argv words after `modhost`
 * @returns    exit code
 */
export async function runProgram(argv: readonly string[], context: CommandContext): Promise<number> {
  let code: number = EXIT.ok;
  const done = (work: Promise<number>): Promise<void> =>
    work.then((result) => {
      code = result;
    });
  const program = buildProgram(context, done);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (thrown) {
    return tellFailure(context, thrown);
  }
}

function tellFailure({ terminal, env }: CommandContext, thrown: unknown): number {
  // commander has told the usage error itself
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const error = HostError.from(thrown);
  const cause = error.reason === 'INTERNAL' && error.cause instanceof Error ? `: ${error.cause.message}` : '';
  terminal.tell(`modhost: ${terminal.paintError('red', error.reason)}: ${printable(error.message + cause)}`);
  if (env.MODHOST_DEBUG !== undefined && error.cause instanceof Error) terminal.tell(String(error.cause.stack));
  return exitCodeOf(error);
}

/** The whole command line, as a tree of commands. */
export function buildProgram(context: CommandContext, done: Done): Command {
  const program = new Command('modhost')
    .description('Runs modules in any language beside a Bitcoin node')
    .version(readHostVersion(), '-V, --version')
    .exitOverride()
    // what stands behind the words of `cli` belongs to the module
    .enablePositionalOptions()
    .configureOutput({
      writeOut: (text) => context.terminal.say(text.trimEnd()),
      writeErr: (text) => context.terminal.tell(text.trimEnd()),
    })
    .addHelpText('afterAll', CLOSING);
  for (const add of [addHost, addModules, addWatching, addNode, addShell]) add(program, context, done);
  return program;
}
