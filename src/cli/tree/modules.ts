import type { AskFlags } from '../context.js';
import { withAskOptions } from '../options.js';
import { type Branch, GROUP } from './branch.js';

const CLI_HELP = `
Without words it lists all commands, with a name it explains that set; \`modhost cli NAME COMMAND --help\` explains one
command. Output and exit code are the module's. What goes wrong before or beside the module is told on standard error as
\`modhost: REASON: ...\` and has modhost's own exit code.`;

/** What steers modules. */
export const addModules: Branch = (program, context, done) => {
  program.commandsGroup(GROUP.modules);
  withAskOptions(program.command('list').description('modules by name: version, state, process, restarts')).action(
    async (flags: AskFlags) => done((await import('../commands/list.js')).list(context, flags)),
  );
  withAskOptions(program.command('load').description('start a module and wait until it is ready').argument('<name>'))
    .option('--no-wait', 'answer as soon as its process runs')
    .action(async (name: string, flags: AskFlags) =>
      done((await import('../commands/life.js')).load(context, name, flags)),
    );
  withAskOptions(program.command('unload').description('stop a module').argument('<name>'))
    .option('--cascade', 'stop those that need it first')
    .action(async (name: string, flags: AskFlags) =>
      done((await import('../commands/life.js')).unload(context, name, flags)),
    );
  withAskOptions(
    program.command('reload').description('read its manifest anew and start it again').argument('<name>'),
  ).action(async (name: string, flags: AskFlags) =>
    done((await import('../commands/life.js')).reload(context, name, flags)),
  );
  withAskOptions(
    program
      .command('enable')
      .description('start a module now and at each start of the host, whatever the file says')
      .argument('<name>'),
  ).action(async (name: string, flags: AskFlags) =>
    done((await import('../commands/life.js')).enable(context, name, flags)),
  );
  withAskOptions(
    program.command('disable').description('stop a module and keep it from being started by itself').argument('<name>'),
  )
    .option('--cascade', 'stop those that need it first')
    .action(async (name: string, flags: AskFlags) =>
      done((await import('../commands/life.js')).disable(context, name, flags)),
    );
  withAskOptions(
    program
      .command('cli')
      .description('commands of modules: options stand before the name, what follows it is the module’s')
      .argument('[words...]', 'name of a command set, command, and its arguments'),
  )
    .usage('[options] [name [command [arguments...]]]')
    .passThroughOptions()
    .addHelpText('after', CLI_HELP)
    .action(async (words: string[], flags: AskFlags) =>
      done((await import('../commands/cli.js')).cli(context, words, flags)),
    );
};
