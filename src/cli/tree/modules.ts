import type { AskFlags } from '../context.js';
import { withAskOptions } from '../options.js';
import { type Branch, GROUP } from './branch.js';

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
};
