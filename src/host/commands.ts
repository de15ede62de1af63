import type { ModuleCommands, RunCommandRequest, RunCommandResponse } from '../../gen/ts/modhost/admin/v1/command.js';
import { type InvocationFailure, InvocationFailureKind } from '../../gen/ts/modhost/v1/invocation.js';
import type { CliSpec, CliSubcommand } from '../../gen/ts/modhost/v1/rpc.js';
import { HostError } from '../contract/error.js';
import { nearest } from '../core/nearest.js';
import { printableLine } from '../core/printable.js';
import type { CommandSet, EndpointBook } from '../session/endpoint-book.js';
import { checkArguments, usageLine } from './command-line.js';
import type { Lifecycle } from './lifecycle.js';
import { isAvailable } from './slot.js';

/** Longest run of a command that names no bound of its own, milliseconds. */
const DEFAULT_TIMEOUT_MS = 60_000;
/** Longest run of any command, milliseconds. */
const MAX_TIMEOUT_MS = 600_000;
/** Most arguments of one command line, and the bytes of all of them: what stock clients send in one message, with room. */
const MAX_ARGUMENTS = 1_024;
const MAX_ARGUMENT_BYTES = 1_048_576;
/** When a module is not there to answer, how long to wait before the next attempt, milliseconds. */
const RETRY_AFTER_MS = 1_000;
/** Largest exit code of a process. */
const MAX_EXIT_CODE = 255;
/** Longest text of a module's failure that is told, characters. */
const MAX_TOLD_CHARS = 4_096;

/** What running commands of modules needs of a host. */
export interface CommandParts {
  readonly endpoints: Pick<EndpointBook, 'commandSet' | 'commandSets'>;
  readonly lifecycle: Pick<Lifecycle, 'slot' | 'known'>;
}

/** The commands that modules have registered. */
export interface Commands {
  /** All sets, or the one of this name. @throws MODULE_NOT_FOUND */
  list(name: string): ModuleCommands[];
  /**
   * Checks a command line against its description and has the module carry it out.
   *
   * @throws HostError FIELD_REQUIRED, MODULE_NOT_FOUND, METHOD_NOT_FOUND, INVALID_REQUEST, MODULE_UNAVAILABLE, TOO_MANY_CALLS,
   *   DEADLINE_EXCEEDED, CANCELLED; INTERNAL when the module breaks the contract or says that it failed
   */
  run(request: RunCommandRequest, signal: AbortSignal): Promise<RunCommandResponse>;
}

/** Makes what `modhost cli` asks of a host. */
export function createCommands({ endpoints, lifecycle }: CommandParts): Commands {
  const find = (name: string): CommandSet => {
    const found = endpoints.commandSet(name);
    if (found !== undefined) return found;
    const slot = lifecycle.slot(name);
    if (slot === undefined) {
      const sets = endpoints.commandSets().map(({ spec }) => spec.name);
      const near = nearest(name, [...sets, ...lifecycle.known()]);
      throw new HostError(
        'MODULE_NOT_FOUND',
        `no module and no command set ${printableLine(name, MAX_TOLD_CHARS)}${hint(near)}`,
        { details: near === undefined ? {} : { nearest: near } },
      );
    }
    if (isAvailable(slot)) throw new HostError('METHOD_NOT_FOUND', `${name} has registered no commands`);
    throw new HostError('MODULE_UNAVAILABLE', `${name} does not run: ${printableLine(slot.why(), MAX_TOLD_CHARS)}`, {
      retryAfterMs: RETRY_AFTER_MS,
    });
  };
  return {
    list(name) {
      const told = ({ module, spec }: CommandSet): ModuleCommands => ({ module, spec });
      if (name === '') return endpoints.commandSets().map(told);
      const set = endpoints.commandSet(name);
      if (set !== undefined) return [told(set)];
      // a module that is there and has no commands has an empty list; one that is not there is told
      if (lifecycle.slot(name) === undefined) find(name);
      return [];
    },
    async run({ name, subcommand, args, terminal, columns }, signal) {
      if (name === '') throw new HostError('FIELD_REQUIRED', 'name is not set');
      const { module, spec, invocations } = find(name);
      if (subcommand === '') throw new HostError('FIELD_REQUIRED', `subcommand is not set: ${namesOf(spec)}`);
      const described = describedIn(spec, subcommand);
      assertSmall(args);
      checkArguments(spec.name, described, args);
      const timeoutMs = Math.min(described.timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : described.timeoutMs, MAX_TIMEOUT_MS);
      const outcome = await invocations.ask(
        { $case: 'cli', value: { subcommand, args: [...args], terminal, columns } },
        { timeoutMs, signal },
      );
      if (outcome.$case === 'failure') throw failureOf(module, usageLine(spec.name, described), outcome.value);
      if (outcome.$case !== 'cli') throw new HostError('INTERNAL', `${module} has answered something else`);
      const { stdout, stderr, exitCode } = outcome.value;
      if (exitCode > MAX_EXIT_CODE) throw new HostError('INTERNAL', `${module} gave the exit code ${exitCode}`);
      return { stdout, stderr, exitCode };
    },
  };
}

function describedIn(spec: CliSpec, subcommand: string): CliSubcommand {
  const found = spec.subcommands.find(({ name }) => name === subcommand);
  if (found !== undefined) return found;
  const names = spec.subcommands.map(({ name }) => name);
  const near = nearest(subcommand, names);
  throw new HostError(
    'METHOD_NOT_FOUND',
    `${spec.name} has no command ${printableLine(subcommand, MAX_TOLD_CHARS)}${hint(near)}; it has: ${namesOf(spec)}`,
    { details: near === undefined ? {} : { nearest: near } },
  );
}

function assertSmall(args: readonly string[]): void {
  if (args.length > MAX_ARGUMENTS) {
    throw new HostError('INVALID_REQUEST', `${args.length} arguments were given, at most ${MAX_ARGUMENTS} are taken`);
  }
  const bytes = args.reduce((sum, arg) => sum + Buffer.byteLength(arg), 0);
  if (bytes > MAX_ARGUMENT_BYTES) {
    throw new HostError(
      'INVALID_REQUEST',
      `the arguments have ${bytes} bytes, at most ${MAX_ARGUMENT_BYTES} are taken`,
    );
  }
}

/** What a module's own refusal means to who has typed the command. */
function failureOf(module: string, usage: string, { kind, message, retryAfterMs }: InvocationFailure): HostError {
  const text = printableLine(message, MAX_TOLD_CHARS);
  switch (kind) {
    case InvocationFailureKind.UNSUPPORTED:
      return new HostError('METHOD_NOT_FOUND', `${module} has registered commands and answers none`);
    case InvocationFailureKind.METHOD_NOT_FOUND:
      return new HostError('METHOD_NOT_FOUND', `${module}: ${text}`);
    case InvocationFailureKind.INVALID_PARAMS:
      return new HostError('INVALID_REQUEST', `${module}: ${text}; usage: ${usage}`);
    case InvocationFailureKind.CALLER_NOT_ALLOWED:
      return new HostError('CALLER_NOT_ALLOWED', `${module}: ${text}`);
    case InvocationFailureKind.BUSY:
      return new HostError('MODULE_UNAVAILABLE', `${module}: ${text}`, {
        retryAfterMs: retryAfterMs || RETRY_AFTER_MS,
      });
    case InvocationFailureKind.CANCELLED:
      return new HostError('CANCELLED', `${module}: ${text}`);
    default:
      return new HostError('INTERNAL', `${module} could not do it: ${text}`);
  }
}

function namesOf({ subcommands }: CliSpec): string {
  return subcommands.map(({ name }) => name).join(', ');
}

function hint(near: string | undefined): string {
  return near === undefined ? '' : `; did you mean ${near}?`;
}
