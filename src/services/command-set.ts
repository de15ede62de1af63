import type { CliArgument, CliSpec, CliSubcommand } from '../../gen/ts/modhost/v1/rpc.js';
import { HostError } from '../contract/error.js';
import { printable } from '../core/printable.js';
import { atMost, requireList, requireMessage, requireRange } from './check.js';

/** Most subcommands of a set, and most arguments of one: a page of help. */
const MAX_SUBCOMMANDS = 64;
const MAX_ARGUMENTS = 64;
/** Longest text about something, bytes; a default value is as long at most. */
const MAX_ABOUT_BYTES = 256;
/** Time for one run when the module names none, and the most that it may name, milliseconds. */
const DEFAULT_RUN_MS = 60_000;
const MAX_RUN_MS = 600_000;

const WORD = /^[a-z][a-z0-9-]{0,63}$/;
const LONG = /^[a-z][a-z0-9-]{1,63}$/;
const SHORT = /^[A-Za-z0-9]$/;

/** Flags that the command line answers itself. */
const HELP_FLAGS: ReadonlySet<string> = new Set(['--help', '-h']);

/**
 * The command set as it may be shown: every rule of `CliSpec` holds, texts are printable, times are filled in.
 *
 * @throws FIELD_REQUIRED (no set, no name, no subcommand), INVALID_REQUEST (a name that breaks its rule or stands there
 *   twice, a text that is too long or no line), OUT_OF_RANGE (too many of something, a time over its bound)
 */
export function checkedCommands(spec: CliSpec | undefined): CliSpec {
  const { name, about, subcommands } = requireMessage(spec, 'spec');
  const seen = uniqueNames('subcommands');
  return {
    name: word(name, 'spec.name'),
    about: line(about, 'spec.about'),
    subcommands: requireList(subcommands, MAX_SUBCOMMANDS, 'subcommands').map((command) => {
      seen(word(command.name, 'subcommands.name'));
      return checkedSubcommand(command);
    }),
  };
}

function checkedSubcommand({ name, about, arguments: args, timeoutMs }: CliSubcommand): CliSubcommand {
  const names = uniqueNames(`arguments of ${name}`);
  const flags = uniqueNames(`flags of ${name}`);
  return {
    name,
    about: line(about, `${name}.about`),
    arguments: atMost(args, MAX_ARGUMENTS, `arguments of ${name}`).map((argument) => {
      names(word(argument.name, `arguments of ${name}`));
      for (const flag of flagsOf(argument)) {
        if (HELP_FLAGS.has(flag)) throw new HostError('INVALID_REQUEST', `${flag} shows help and cannot be taken`);
        flags(flag);
      }
      return checkedArgument(argument);
    }),
    timeoutMs: timeoutMs === 0 ? DEFAULT_RUN_MS : requireRange(timeoutMs, 1, MAX_RUN_MS, `${name}.timeout_ms`),
  };
}

function flagsOf({ longName, shortName }: CliArgument): string[] {
  return [...(longName === '' ? [] : [`--${longName}`]), ...(shortName === '' ? [] : [`-${shortName}`])];
}

function checkedArgument(argument: CliArgument): CliArgument {
  const { name, longName, shortName } = argument;
  if (longName !== '' && !LONG.test(longName)) throw broken(`long_name of ${name}`, '[a-z][a-z0-9-]{1,63}');
  if (shortName !== '' && !SHORT.test(shortName)) throw broken(`short_name of ${name}`, 'one ASCII letter or digit');
  return {
    ...argument,
    takesValue: argument.takesValue || (longName === '' && shortName === ''),
    defaultValue: line(argument.defaultValue, `default_value of ${name}`),
    about: line(argument.about, `about of ${name}`),
  };
}

function word(name: string, field: string): string {
  if (name === '') throw new HostError('FIELD_REQUIRED', `${field} is required`);
  if (!WORD.test(name)) throw broken(field, '[a-z][a-z0-9-]{0,63}');
  return name;
}

function broken(field: string, rule: string): HostError {
  return new HostError('INVALID_REQUEST', `${field} must be ${rule}`);
}

/** One line that may be empty, printable. */
function line(value: string, field: string): string {
  if (Buffer.byteLength(value) > MAX_ABOUT_BYTES || /\p{Cc}/u.test(value)) {
    throw new HostError(
      'INVALID_REQUEST',
      `${field} must have at most ${MAX_ABOUT_BYTES} bytes and no control characters`,
    );
  }
  return printable(value);
}

function uniqueNames(what: string): (name: string) => void {
  const seen = new Set<string>();
  return (name) => {
    if (seen.has(name)) throw new HostError('INVALID_REQUEST', `${name} stands twice among the ${what}`);
    seen.add(name);
  };
}
