import type { Argument, Command, Option } from 'commander';

/** One way to go on: a word, and what it means. */
export type Candidate = readonly [word: string, about: string];

/** What the shell is to offer: words, or files of its own finding. */
export type Offer = readonly Candidate[] | 'files';

/** What only a running host or the contract knows; each answers with nothing when it cannot be reached. */
export interface CompletionSources {
  /** Names of modules. */
  modules(): Promise<readonly Candidate[]>;
  /** Command sets of modules; with a name the commands of that set, with both the flags of that command. */
  moduleCommands(set?: string, command?: string): Promise<readonly Candidate[]>;
  /** Names of event types. */
  events(): readonly Candidate[];
}

/** Words that may stand on a command line unquoted; a name of another form is typed by hand. */
const PLAIN_WORD = /^[A-Za-z0-9._:@%+,/=-]+$/;
/** Options whose values are files or directories, by the name of the value. */
const FILE_VALUES: ReadonlySet<string> = new Set(['file', 'dir']);

/**
 * What may stand in the place of the last word.
 *
 * @param words what was typed after `modhost`; the last one is being completed and may be empty
 */
export async function complete(program: Command, words: readonly string[], sources: CompletionSources): Promise<Offer> {
  const joined = joinValues(words);
  const current = joined.at(-1) ?? '';
  const found = await candidatesFor(program, joined.slice(0, -1), current, sources);
  if (found === 'files') return found;
  // a flag's value behind "=" is completed alone: bash keeps what stands before it
  const begun = current.startsWith('--') && current.includes('=') ? current.slice(current.indexOf('=') + 1) : current;
  return found.filter(([word]) => word.startsWith(begun) && PLAIN_WORD.test(word));
}

/** bash takes `--flag=value` apart into three words. */
function joinValues(words: readonly string[]): string[] {
  const joined: string[] = [];
  for (const word of words) {
    const last = joined.at(-1);
    if (last?.startsWith('--') === true && (word === '=' || last.endsWith('=')))
      joined[joined.length - 1] = last + word;
    else joined.push(word);
  }
  return joined;
}

async function candidatesFor(
  program: Command,
  before: readonly string[],
  current: string,
  sources: CompletionSources,
): Promise<Offer> {
  let command = program;
  let wanting: Option | undefined;
  let onlyPlaces = false;
  const places: string[] = [];
  for (const word of before) {
    if (wanting !== undefined) {
      wanting = undefined;
    } else if (places.length > 0 && command.name() === 'cli') {
      // what follows the name belongs to the module
      places.push(word);
    } else if (word === '--') {
      onlyPlaces = true;
    } else if (word.startsWith('-') && !onlyPlaces) {
      const option = optionOf(command, word);
      if (option !== undefined && (option.required || option.optional) && !word.includes('=')) wanting = option;
    } else {
      const next = places.length === 0 ? command.commands.find((one) => one.name() === word) : undefined;
      if (next === undefined) places.push(word);
      else command = next;
    }
  }
  if (wanting !== undefined) return valuesOf(wanting, sources);
  if (command.name() === 'cli' && places.length > 0) return sources.moduleCommands(places[0], places[1]);
  if (current.startsWith('-') && !onlyPlaces) {
    const option = current.includes('=') ? optionOf(command, current) : undefined;
    return option === undefined ? optionsOf(command) : valuesOf(option, sources);
  }
  if (command.commands.length > 0 && places.length > 0) return [];
  if (command.commands.length > 0) {
    return command
      .createHelp()
      .visibleCommands(command)
      .map((one) => [one.name(), one.description()] as const);
  }
  return placeOf(command, places, sources);
}

function optionOf(command: Command, word: string): Option | undefined {
  const flag = word.split('=')[0] ?? '';
  return command.options.find(({ long, short }) => long === flag || short === flag);
}

/** Flags of a command; of two forms the long one, which says what it does. */
function optionsOf(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map(({ long, short, description }) => [long ?? short ?? '', description] as const);
}

async function valuesOf(option: Option, sources: CompletionSources): Promise<Offer> {
  if (option.argChoices !== undefined) return option.argChoices.map((word) => [word, ''] as const);
  if (option.long === '--allow-unsigned') return sources.modules();
  return FILE_VALUES.has(/<([a-z]+)>/.exec(option.flags)?.[1] ?? '') ? 'files' : [];
}

/** What stands in a place is told by the argument's name: `<name>` is a module, `<type>` an event, `<file>` a file. */
async function placeOf(command: Command, places: readonly string[], sources: CompletionSources): Promise<Offer> {
  const known: readonly Argument[] = command.registeredArguments;
  const last = known.at(-1);
  const argument = known[places.length] ?? (last?.variadic === true ? last : undefined);
  if (argument === undefined) return [];
  if (argument.argChoices !== undefined) return argument.argChoices.map((word) => [word, ''] as const);
  switch (argument.name()) {
    case 'name': {
      const host: Candidate[] = command.name() === 'logs' ? [['host', 'the host itself']] : [];
      return [...host, ...(await sources.modules())].filter(([word]) => !places.includes(word));
    }
    case 'type':
      return sources.events().filter(([word]) => !places.includes(word));
    case 'words':
      return sources.moduleCommands();
    case 'file':
      return 'files';
    default:
      return [];
  }
}
