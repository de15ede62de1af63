import type { ModuleCommands } from '../../gen/ts/modhost/admin/v1/command.js';
import type { CliArgument, CliSubcommand } from '../../gen/ts/modhost/v1/rpc.js';
import { printable } from '../core/printable.js';
import { isPositional, usageLine } from '../host/command-line.js';
import type { Paint } from './terminal.js';

/** Every command set and what it is for: what `modhost cli` shows. */
export function commandSetLines(sets: readonly ModuleCommands[], paint: Paint): string[] {
  return sets.flatMap(({ module, spec }) => {
    if (spec === undefined) return [];
    const by = spec.name === module ? '' : ` (module ${printable(module)})`;
    const about = spec.about === '' ? '' : `: ${printable(spec.about)}`;
    return [
      `${paint('bold', printable(spec.name))}${by}${about}`,
      ...columns(spec.subcommands.map(({ name, about: what }) => [name, what])),
    ];
  });
}

/** Help of one command set: what `modhost cli NAME` shows. */
export function commandSetHelp({ module, spec }: ModuleCommands, paint: Paint): string[] {
  if (spec === undefined) return [];
  return [
    `Usage: modhost cli ${printable(spec.name)} <command> [arguments...]`,
    '',
    ...(spec.about === '' ? [] : [printable(spec.about), '']),
    paint('bold', 'Commands:'),
    ...columns(spec.subcommands.map(({ name, about }) => [name, about])),
    '',
    `answered by the module ${printable(module)}; \`modhost cli ${printable(spec.name)} COMMAND --help\` tells more`,
  ];
}

/** Help of one command: what `modhost cli NAME COMMAND --help` shows. */
export function commandHelp(set: string, command: CliSubcommand, paint: Paint): string[] {
  const places = command.arguments.filter(isPositional);
  const flags = command.arguments.filter((argument) => !isPositional(argument));
  const section = (title: string, shown: readonly CliArgument[]): string[] =>
    shown.length === 0
      ? []
      : ['', paint('bold', title), ...columns(shown.map((one) => [argumentText(one), meaningOf(one)]))];
  return [
    printable(`Usage: ${usageLine(set, command)}`),
    ...(command.about === '' ? [] : ['', printable(command.about)]),
    ...section('Arguments:', places),
    ...section('Options:', flags),
  ];
}

/** `-d, --depth <blocks>`; a positional argument by its name alone. */
function argumentText(argument: CliArgument): string {
  if (isPositional(argument)) return argument.name;
  const short = argument.shortName === '' ? '    ' : `-${argument.shortName}${argument.longName === '' ? '' : ', '}`;
  const long = argument.longName === '' ? '' : `--${argument.longName}`;
  return `${short}${long}${argument.takesValue ? ` <${argument.name}>` : ''}`;
}

function meaningOf({ about, required, defaultValue }: CliArgument): string {
  const notes = [required ? 'required' : '', defaultValue === '' ? '' : `default: ${defaultValue}`];
  const told = notes.filter((note) => note !== '').join(', ');
  return [about, told === '' ? '' : `(${told})`].filter((part) => part !== '').join(' ');
}

/** Two columns, indented. */
function columns(rows: readonly (readonly [left: string, right: string])[]): string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${printable(left).padEnd(width)}  ${printable(right)}`.trimEnd());
}
