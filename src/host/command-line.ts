import type { CliArgument, CliSubcommand } from '../../gen/ts/modhost/v1/rpc.js';
import { HostError } from '../contract/error.js';
import { nearest } from '../core/nearest.js';
import { printableLine } from '../core/printable.js';

/** Longest word of the operator's that is repeated to him, characters. */
const MAX_TOLD_CHARS = 128;

/** True for an argument that has no flag: it is known by its place. */
export function isPositional({ longName, shortName }: CliArgument): boolean {
  return longName === '' && shortName === '';
}

/** How a flag is written: `--depth`, or `-d` where it has no long form. */
export function flagOf({ longName, shortName }: CliArgument): string {
  return longName === '' ? `-${shortName}` : `--${longName}`;
}

/** One line of usage: `modhost cli SET COMMAND --depth <depth> [--all] <block>`. */
export function usageLine(set: string, { name, arguments: known }: CliSubcommand): string {
  const shown = [...known.filter((one) => !isPositional(one)), ...known.filter(isPositional)].map((argument) => {
    const text = isPositional(argument)
      ? `<${argument.name}>`
      : `${flagOf(argument)}${argument.takesValue ? ` <${argument.name}>` : ''}`;
    return argument.required ? text : `[${text}]`;
  });
  return ['modhost cli', set, name, ...shown].join(' ');
}

/**
 * Checks what was typed against the description of a command: every flag is known and has its value, what is required is
 * there, and no more stands in places than the command has. What the values mean is the module's to say.
 *
 * Flags are written `--flag value`, `--flag=value`, `-f value`, `-fvalue` or, without values, `-abc`; after `--` all words are
 * values. A word of digits behind a dash, `-5`, is a value unless a flag has that digit. The last positional argument takes
 * all words that are left, so that a command can take a list.
 *
 * @param set  name of the command set, for the usage in messages
 * @throws     HostError INVALID_REQUEST
 */
export function checkArguments(set: string, command: CliSubcommand, args: readonly string[]): void {
  const known = command.arguments;
  const refuse = (text: string): never => {
    throw new HostError('INVALID_REQUEST', `${text}; usage: ${usageLine(set, command)}`);
  };
  const seen = new Set<CliArgument>();
  const places = known.filter(isPositional);
  let placed = 0;
  const place = (word: string): void => {
    const at = places[Math.min(placed, places.length - 1)];
    if (at === undefined) refuse(`${quoted(word)} is one word too many`);
    else seen.add(at);
    placed += 1;
  };
  const unknown = (flag: string): never => {
    const near = nearest(flag, known.filter((one) => !isPositional(one)).flatMap(flagsOf));
    return refuse(`there is no flag ${quoted(flag)}${near === undefined ? '' : `, did you mean ${near}?`}`);
  };
  const rest = [...args];
  const takeValue = (argument: CliArgument, flag: string, inline: string | undefined): void => {
    seen.add(argument);
    if (!argument.takesValue) {
      if (inline !== undefined) refuse(`${flag} takes no value`);
      return;
    }
    if (inline === undefined && rest.shift() === undefined) refuse(`${flag} wants a value`);
  };
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      for (const left of rest.splice(0)) place(left);
    } else if (word.startsWith('--')) {
      const [flag = '', ...inline] = word.split('=');
      const argument = known.find(({ longName }) => longName !== '' && `--${longName}` === flag);
      if (argument === undefined) unknown(flag);
      else takeValue(argument, flag, inline.length === 0 ? undefined : inline.join('='));
    } else if (word.length > 1 && word.startsWith('-') && !isNumber(word, known)) {
      readShort(word.slice(1));
    } else {
      place(word);
    }
  }
  const missing = known.filter((argument) => argument.required && !seen.has(argument));
  if (missing.length > 0) {
    const names = missing.map((argument) => (isPositional(argument) ? `<${argument.name}>` : flagOf(argument)));
    refuse(`${names.join(' and ')} ${missing.length === 1 ? 'is' : 'are'} missing`);
  }

  /** The letters behind one dash: flags without values, and one that takes the rest as its value. */
  function readShort(letters: string): void {
    for (let i = 0; i < letters.length; i++) {
      const letter = letters.charAt(i);
      const argument = known.find(({ shortName }) => shortName === letter);
      if (argument === undefined) {
        unknown(`-${letter}`);
      } else if (argument.takesValue) {
        const inline = letters.slice(i + 1).replace(/^=/, '');
        takeValue(argument, `-${letter}`, i + 1 < letters.length ? inline : undefined);
        return;
      } else {
        takeValue(argument, `-${letter}`, undefined);
      }
    }
  }
}

function flagsOf({ longName, shortName }: CliArgument): string[] {
  return [...(longName === '' ? [] : [`--${longName}`]), ...(shortName === '' ? [] : [`-${shortName}`])];
}

/** `-5` or `-0.1`, where no flag is called so. */
function isNumber(word: string, known: readonly CliArgument[]): boolean {
  return /^-[0-9]+(?:\.[0-9]+)?$/.test(word) && !known.some(({ shortName }) => shortName === word.charAt(1));
}

function quoted(word: string): string {
  return `"${printableLine(word, MAX_TOLD_CHARS)}"`;
}
