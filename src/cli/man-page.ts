import type { Command, Option } from 'commander';

/** Exit codes, as help and manual page tell them. */
const EXIT_CODES: readonly (readonly [code: string, meaning: string])[] = [
  ['0', 'done'],
  ['1', 'failed'],
  ['2', 'wrong usage or configuration'],
  ['3', 'no host runs'],
  ['4', 'refused by policy'],
  ['130, 143', 'given up by SIGINT or SIGTERM'],
];

/** Places that the program looks at. */
const FILES: readonly (readonly [path: string, meaning: string])[] = [
  ['/etc/modhost/modhost.toml', "the operator's file of root"],
  ['~/.config/modhost/modhost.toml', "the operator's file of everybody else"],
  ['/var/lib/modhost, ~/.local/share/modhost', 'data of host and modules, one directory per network below'],
  ['/run/modhost, $XDG_RUNTIME_DIR/modhost', 'sockets, one directory per network below'],
  [
    'switches.json',
    "below the data directory: what `enable` and `disable` have switched; it stands over the operator's file",
  ],
];

/** Facts of the environment that belong to no flag. */
const ENVIRONMENT: readonly (readonly [name: string, meaning: string])[] = [
  ['MODHOST_NODE_PASSWORD', "password of the node's RPC; never a flag, as everybody can read those"],
  ['MODHOST_DEBUG', 'when set, failures come with their stack'],
  ['NO_COLOR', 'when not empty, nothing is coloured'],
];

/**
 * The manual page of the program, made from its own tree of commands.
 *
 * @returns text for `man`, see groff_man(7); committed as `man/modhost.1`
 */
export function manPage(program: Command): string {
  const help = program.createHelp();
  const groups = new Map<string, Command[]>();
  for (const command of help.visibleCommands(program)) {
    const heading = command.helpGroup() || 'Others:';
    groups.set(heading, [...(groups.get(heading) ?? []), command]);
  }
  const shared = sharedOptions(program);
  const lines = [
    `.\\" Written by \`npm run man\` from the program's own commands; edit those.`,
    `.TH MODHOST 1 "" "modhost ${escaped(program.version() ?? '')}" "User Commands"`,
    '.SH NAME',
    `modhost \\- ${lowerFirst(escaped(program.description()))}`,
    '.SH SYNOPSIS',
    '.B modhost',
    '.I command',
    '.RI [ options ]',
    '.RI [ arguments ]',
    '.SH DESCRIPTION',
    text(
      'modhost runs programs of other people, modules, beside a Bitcoin node: each in a sandbox, with the permissions that the operator grants, over gRPC on a socket of its own.',
    ),
    '.PP',
    text(
      '`modhost run` is the host. All other commands that say so ask a running one over its socket, which only its own user and root can open; flags, environment and the operator’s file say which, in this order.',
    ),
    ...[...groups].flatMap(([heading, commands]) => [
      `.SH ${escaped(heading.replace(/:$/, '').toUpperCase())}`,
      ...commands.flatMap((command) => commandLines(command, 'modhost', shared)),
    ]),
    '.SH COMMON OPTIONS',
    text('Most commands take these; `modhost COMMAND --help` lists what each takes.'),
    ...optionLines([...shared.values()]),
    '.SH EXIT STATUS',
    ...pairs(EXIT_CODES),
    '.PP',
    text(
      '`modhost cli` ends with the exit code of the module’s command. A failure of modhost itself, before or beside the module, is told on standard error by a line that begins with `modhost: REASON:` and has the codes above.',
    ),
    '.SH ENVIRONMENT',
    ...pairs([...environmentOf(program), ...ENVIRONMENT]),
    '.SH FILES',
    ...pairs(FILES),
    '.SH EXAMPLES',
    ...pairs([
      ['modhost run --allow-unsigned block-watch', 'a host on its embedded, simulated chain'],
      ['modhost status block-watch', 'one module in full'],
      ['modhost logs -f block-watch', 'what it logs, as it comes'],
      ['modhost top --sort node', 'which module asks most of the node'],
      ['source <(modhost completion bash)', 'completion for the shell that runs'],
    ]),
  ];
  return `${lines.join('\n')}\n`;
}

/** One command with its options, and the commands below it. */
function commandLines(command: Command, path: string, shared: ReadonlyMap<string, Option>): string[] {
  const help = command.createHelp();
  const whole = `${path} ${command.name()}`;
  const own = help.visibleCommands(command).filter((one) => one.name() !== 'help');
  if (own.length > 0) return own.flatMap((one) => commandLines(one, whole, shared));
  const options = help
    .visibleOptions(command)
    .filter((option) => option.long !== '--help' && !shared.has(keyOf(option)));
  const usage = command.usage().replace(/^\[options\] ?/, '');
  return [
    '.TP',
    `.B ${escaped(whole)}${usage === '' ? '' : `\\fR ${escaped(usage)}`}`,
    text(sentence(help.commandDescription(command))),
    ...(options.length === 0 ? [] : ['.RS', ...optionLines(options), '.RE']),
  ];
}

function optionLines(options: readonly Option[]): string[] {
  return options.flatMap(({ flags, description, argChoices, envVar }) => {
    const choices = argChoices === undefined ? '' : `; one of ${argChoices.join(', ')}`;
    const variable = envVar === undefined ? '' : `; also ${envVar}`;
    return ['.TP', `.B ${escaped(flags)}`, text(sentence(`${description}${choices}${variable}`))];
  });
}

/** Options that this many commands have in the same words are told once. */
const SHARED_BY = 5;

function sharedOptions(program: Command): Map<string, Option> {
  const counts = new Map<string, number>();
  const shared = new Map<string, Option>();
  const walk = (command: Command): void => {
    for (const option of command.options) {
      const count = (counts.get(keyOf(option)) ?? 0) + 1;
      counts.set(keyOf(option), count);
      if (count === SHARED_BY) shared.set(keyOf(option), option);
    }
    for (const one of command.commands) walk(one);
  };
  walk(program);
  return shared;
}

function keyOf({ flags, description }: Option): string {
  return `${flags}\n${description}`;
}

/** Environment variables that stand for flags, by name. */
function environmentOf(program: Command): [name: string, meaning: string][] {
  const found = new Map<string, Option>();
  const walk = (command: Command): void => {
    for (const option of command.options) if (option.envVar !== undefined) found.set(option.envVar, option);
    for (const one of command.commands) walk(one);
  };
  walk(program);
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, { long }]) => [name, `stands for ${long}`]);
}

function pairs(rows: readonly (readonly [left: string, right: string])[]): string[] {
  return rows.flatMap(([left, right]) => ['.TP', `.B ${escaped(left)}`, text(sentence(right))]);
}

function sentence(words: string): string {
  return /[.!?)]$/.test(words) ? words : `${words}.`;
}

function lowerFirst(words: string): string {
  return words.charAt(0).toLowerCase() + words.slice(1);
}

/** A line of running text: what troff would take for a request is made text, and words in backticks are bold. */
function text(words: string): string {
  const bold = escaped(words).replace(/`([^`]*)`/g, '\\fB$1\\fR');
  return /^[.']/.test(bold) ? `\\&${bold}` : bold;
}

/** Characters that troff reads otherwise, written so that it does not. @see groff_char(7) */
function escaped(words: string): string {
  return words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('"', '\\(dq')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replace(
      /[\u{80}-\u{10ffff}]/gu,
      (char) => `\\[u${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}]`,
    );
}
