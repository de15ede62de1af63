import { Command, CommanderError, Option } from 'commander';
import { HostError } from '../contract/error.js';
import { printable } from '../core/printable.js';
import { readHostVersion } from '../host/version.js';
import { LOG_LEVELS, type LogLevel } from '../manifest/operator.js';
import type { DoctorFlags } from './commands/doctor.js';
import type { LogsFlags } from './commands/logs.js';
import type { UnitFlags } from './commands/unit.js';
import type { AuditFlags } from './commands/watch.js';
import type { AskFlags, CommandContext } from './context.js';
import { EXIT, exitCodeOf } from './exit.js';
import {
  collect,
  wholeNumber,
  withAskOptions,
  withDoctorOptions,
  withFollowOptions,
  withNodeOptions,
  withRunOptions,
} from './options.js';
import type { RunFlags } from './settings.js';

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

function buildProgram(context: CommandContext, done: (work: Promise<number>) => Promise<void>): Command {
  const program = new Command('modhost')
    .description('Runs modules in any language beside a Bitcoin node')
    .version(readHostVersion(), '-V, --version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.terminal.say(text.trimEnd()),
      writeErr: (text) => context.terminal.tell(text.trimEnd()),
    })
    .addHelpText('afterAll', CLOSING);

  withRunOptions(program.command('run').description('run a host in the foreground until it is stopped')).action(
    async (flags: RunFlags) => {
      const { run } = await import('./commands/run.js');
      await done(run(context, flags));
    },
  );
  addQuestions(program, context, done);
  addLife(program, context, done);
  addDevchain(program, context, done);
  withNodeOptions(
    program
      .command('connect')
      .description('find a node, and print the configuration lines that are missing; changes nothing')
      .argument('[kind]', 'bitcoind or btcd', 'bitcoind'),
  )
    .option('--node-dir <dir>', "the node's own directory")
    .option('--node-tls-ca <file>', 'certificate of btcd')
    .option('--json', 'print facts as JSON')
    .action(async (kind: string, flags: object) => {
      const { connect } = await import('./commands/connect.js');
      await done(connect(context, kind, flags));
    });
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
    .action(async (flags: UnitFlags) => {
      const { unit } = await import('./commands/unit.js');
      await done(unit(context, flags));
    });
  withDoctorOptions(
    program
      .command('doctor')
      .description('try what would hold modules on this machine, and print the cure for what does not'),
  ).action(async (flags: DoctorFlags) => {
    const { doctor } = await import('./commands/doctor.js');
    await done(doctor(context, flags));
  });
  const config = program.command('config').description("the operator's file");
  config
    .command('example')
    .description('print it with every key, commented')
    .action(async () => {
      const { configExample } = await import('./commands/config.js');
      await done(configExample(context));
    });
  config
    .command('check')
    .description('read a file as `run` would; starts nothing')
    .argument('<file>')
    .option('--json', 'print facts as JSON')
    .action(async (file: string, flags: { json?: boolean }) => {
      const { configCheck } = await import('./commands/config.js');
      await done(configCheck(context, file, flags));
    });
  return program;
}

type Done = (work: Promise<number>) => Promise<void>;

function addQuestions(program: Command, context: CommandContext, done: Done): void {
  withAskOptions(program.command('list').description('modules by name: version, state, process, restarts')).action(
    async (flags: AskFlags) => done((await import('./commands/list.js')).list(context, flags)),
  );
  withAskOptions(
    program.command('status').description('host, node, containment, warnings, every module in full'),
  ).action(async (flags: AskFlags) => done((await import('./commands/status.js')).status(context, flags)));
  withFollowOptions(
    program
      .command('logs')
      .description('log lines of host and modules')
      .argument('[name...]', '`host` is the host itself'),
  )
    .addOption(new Option('--level <level>', 'least serious level wanted').choices(LOG_LEVELS))
    .action(async (names: string[], flags: LogsFlags & { level?: LogLevel }) =>
      done((await import('./commands/logs.js')).logs(context, names, flags)),
    );
  withAskOptions(
    program
      .command('events')
      .description('events as they are published, until interrupted')
      .argument('[type...]', 'types such as NewBlock, or topics such as watcher.alert'),
  )
    .option('--count <number>', 'end after so many', wholeNumber(1))
    .action(async (types: string[], flags: AskFlags) =>
      done((await import('./commands/events.js')).events(context, types, flags)),
    );
  withAskOptions(
    program.command('stats').description('events delivered, dropped and queued per module').argument('[name]'),
  ).action(async (name: string | undefined, flags: AskFlags) =>
    done((await import('./commands/watch.js')).stats(context, name ?? '', flags)),
  );
  withFollowOptions(program.command('audit').description('grants, refusals and commands').argument('[name...]')).action(
    async (names: string[], flags: AuditFlags) =>
      done((await import('./commands/watch.js')).audit(context, names, flags)),
  );
  withAskOptions(
    program.command('containment').description('what holds modules on this machine').argument('[name]'),
  ).action(async (name: string | undefined, flags: AskFlags) =>
    done((await import('./commands/watch.js')).containment(context, name ?? '', flags)),
  );
}

function addLife(program: Command, context: CommandContext, done: Done): void {
  withAskOptions(program.command('load').description('start a module and wait until it is ready').argument('<name>'))
    .option('--no-wait', 'answer as soon as its process runs')
    .action(async (name: string, flags: AskFlags) =>
      done((await import('./commands/life.js')).load(context, name, flags)),
    );
  withAskOptions(program.command('unload').description('stop a module').argument('<name>'))
    .option('--cascade', 'stop those that need it first')
    .action(async (name: string, flags: AskFlags) =>
      done((await import('./commands/life.js')).unload(context, name, flags)),
    );
  withAskOptions(
    program.command('reload').description('read its manifest anew and start it again').argument('<name>'),
  ).action(async (name: string, flags: AskFlags) =>
    done((await import('./commands/life.js')).reload(context, name, flags)),
  );
  withAskOptions(program.command('stop').description('stop modules and host, and wait for their end')).action(
    async (flags: AskFlags) => done((await import('./commands/stop.js')).stop(context, flags)),
  );
}

function addDevchain(program: Command, context: CommandContext, done: Done): void {
  const devchain = program.command('devchain').description('move the embedded chain of a host that runs on it');
  const count = wholeNumber(1);
  withAskOptions(devchain.command('mine').description('mine blocks at once').argument('[count]', 'blocks', count, 1))
    .option('--script <hex>', 'script that the coinbases pay to (default: a key of the chain)')
    .action(async (number: number, flags: AskFlags) =>
      done((await import('./commands/devchain.js')).mine(context, number, flags)),
    );
  withAskOptions(
    devchain
      .command('reorg')
      .description('replace the last blocks by a longer branch')
      .argument('[depth]', 'blocks', count, 1),
  ).action(async (depth: number, flags: AskFlags) =>
    done((await import('./commands/devchain.js')).reorg(context, depth, flags)),
  );
  withAskOptions(
    devchain
      .command('spend')
      .description('signed transactions into the mempool')
      .argument('[count]', 'transactions', count, 1),
  ).action(async (number: number, flags: AskFlags) =>
    done((await import('./commands/devchain.js')).spend(context, number, flags)),
  );
}
