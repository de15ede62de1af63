import { Option } from 'commander';
import type { CheckFlags } from '../commands/config.js';
import type { DoctorFlags } from '../commands/doctor.js';
import type { UnitFlags } from '../commands/unit.js';
import type { AskFlags } from '../context.js';
import {
  collect,
  configOption,
  modulesDirOption,
  withAskOptions,
  withDoctorOptions,
  withRunOptions,
} from '../options.js';
import type { RunFlags } from '../settings.js';
import { type Branch, GROUP } from './branch.js';

const APPLY_HELP = `
A module takes or refuses its config and secrets; what it refuses is not in force. It is not asked about the rest: grants
that are gone are taken back at once, everything else comes with its next start. Exit code 1 when something was refused.`;

/** What starts and ends a host, and what prepares its machine. */
export const addHost: Branch = (program, context, done) => {
  program.commandsGroup(GROUP.host);
  withRunOptions(program.command('run').description('run a host in the foreground until it is stopped')).action(
    async (flags: RunFlags) => done((await import('../commands/run.js')).run(context, flags)),
  );
  withAskOptions(program.command('stop').description('stop modules and host, and wait for their end')).action(
    async (flags: AskFlags) => done((await import('../commands/stop.js')).stop(context, flags)),
  );
  withDoctorOptions(
    program
      .command('doctor')
      .description('try what would hold modules on this machine, and print the cure for what does not'),
  ).action(async (flags: DoctorFlags) => done((await import('../commands/doctor.js')).doctor(context, flags)));
  program
    .command('unit')
    .description('print a systemd unit for this installation; changes nothing')
    .addOption(new Option('-c, --config <file>', "the operator's file that the unit names"))
    .option(
      '--user <name>',
      'run host and modules as this user instead of root, who gives each module a user of its own',
    )
    .option('--session', 'a unit of your own session, for `systemctl --user`')
    .option('--writable <dir>', 'a further directory in which the host may write; may be repeated', collect, [])
    .action(async (flags: UnitFlags) => done((await import('../commands/unit.js')).unit(context, flags)));
  const config = program.command('config').description("the operator's file");
  config
    .command('example')
    .description('print it with every key, commented')
    .action(async () => done((await import('../commands/config.js')).configExample(context)));
  config
    .command('check')
    .description('read a file as `run` would, and the manifests of its modules; starts nothing')
    .argument('[file]', 'by default that of `run`')
    .addOption(configOption())
    .addOption(modulesDirOption())
    .option('--json', 'print facts as JSON')
    .action(async (file: string | undefined, flags: CheckFlags) =>
      done((await import('../commands/config.js')).configCheck(context, file, flags)),
    );
  withAskOptions(
    config
      .command('apply')
      .description('have the running host read its file anew: modules take changes while they run')
      .addHelpText('after', APPLY_HELP),
  ).action(async (flags: AskFlags) => done((await import('../commands/config.js')).configApply(context, flags)));
};
