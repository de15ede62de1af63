import { Argument } from 'commander';
import { SHELLS, type Shell } from '../completion-scripts.js';
import { type Branch, GROUP } from './branch.js';

/** What makes modhost at home in a shell. */
export const addShell: Branch = (program, context, done) => {
  program.commandsGroup(GROUP.shell);
  program
    .command('completion')
    .description('print the completion of a shell: source <(modhost completion bash)')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .action(async (shell: Shell) => done((await import('../commands/completion.js')).completion(context, shell)));
  program
    .command('complete', { hidden: true })
    .description('what may follow the words of a command line; asked by the scripts of `completion`')
    .argument('[words...]')
    .action(async (words: string[]) =>
      done((await import('../commands/completion.js')).completeWords(context, program, words)),
    );
  program
    .command('man')
    .description('print the manual page: modhost man | man -l -')
    .action(async () => done((await import('../commands/man.js')).man(context, program)));
  program.helpCommand(true);
};
