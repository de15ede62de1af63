import { Option } from 'commander';
import { LOG_LEVELS, type LogLevel } from '../../manifest/operator.js';
import type { LogsFlags } from '../commands/logs.js';
import type { ObserveFlags } from '../commands/observe.js';
import type { TopFlags } from '../commands/top.js';
import type { AuditFlags } from '../commands/watch.js';
import type { AskFlags } from '../context.js';
import { decimalNumber, duration, wholeNumber, withAskOptions, withFollowOptions } from '../options.js';
import { TOP_SORTS } from '../top-text.js';
import { type Branch, GROUP } from './branch.js';

/** What shows a running host and its modules, and changes nothing. */
export const addWatching: Branch = (program, context, done) => {
  program.commandsGroup(GROUP.watching);
  withAskOptions(
    program
      .command('status')
      .description('host, node, containment, warnings, every module in full; with a name that module alone')
      .argument('[name]'),
  ).action(async (name: string | undefined, flags: AskFlags) =>
    done((await import('../commands/status.js')).status(context, name ?? '', flags)),
  );
  withAskOptions(
    program.command('top').description('live: what each module costs node, host and machine, against its budget'),
  )
    .option('--interval <seconds>', 'between two measurements, 0.5 to 60 (default: 2)', decimalNumber(0.5, 60))
    .option('--once', 'one measurement as a plain table')
    .addOption(new Option('--sort <figure>', 'the dearest first').choices(TOP_SORTS).default('cpu'))
    .action(async (flags: TopFlags) => done((await import('../commands/top.js')).top(context, flags)));
  withFollowOptions(
    program
      .command('logs')
      .description('log lines of host and modules')
      .argument('[name...]', '`host` is the host itself'),
  )
    .addOption(new Option('--level <level>', 'least serious level wanted').choices(LOG_LEVELS))
    .action(async (names: string[], flags: LogsFlags & { level?: LogLevel }) =>
      done((await import('../commands/logs.js')).logs(context, names, flags)),
    );
  withAskOptions(
    program
      .command('events')
      .description('events as they are published, until interrupted')
      .argument('[type...]', 'types such as NewBlock, or topics such as watcher.alert'),
  )
    .option('--count <number>', 'end after so many', wholeNumber(1))
    .action(async (types: string[], flags: AskFlags) =>
      done((await import('../commands/events.js')).events(context, types, flags)),
    );
  withAskOptions(
    program.command('stats').description('events delivered, dropped and queued per module').argument('[name]'),
  ).action(async (name: string | undefined, flags: AskFlags) =>
    done((await import('../commands/watch.js')).stats(context, name ?? '', flags)),
  );
  withFollowOptions(program.command('audit').description('grants, refusals and commands').argument('[name...]')).action(
    async (names: string[], flags: AuditFlags) =>
      done((await import('../commands/watch.js')).audit(context, names, flags)),
  );
  withAskOptions(
    program.command('containment').description('what holds modules on this machine').argument('[name]'),
  ).action(async (name: string | undefined, flags: AskFlags) =>
    done((await import('../commands/watch.js')).containment(context, name ?? '', flags)),
  );
  withAskOptions(
    program
      .command('observe')
      .description('what a module really uses, and the smallest manifest that would have sufficed')
      .argument('<name>', 'started for it, and stopped again, unless it runs'),
  )
    .option('--for <duration>', 'how long, like 90s or 10m; without it until Ctrl-C', duration)
    .option('--write <file>', 'put the manifest into this file, which is not there yet')
    .option('--reset', 'forget first what was seen before')
    .action(async (name: string, flags: ObserveFlags) =>
      done((await import('../commands/observe.js')).observe(context, name, flags)),
    );
};
