import type { ContractWords } from '../contract/plain.js';
import type { Terminal } from './terminal.js';

/** What every command gets: the process it runs in, seen through a keyhole. */
export interface CommandContext {
  terminal: Terminal;
  env: NodeJS.ProcessEnv;
  /** The words of the contract; read on the first use. */
  words(): ContractWords;
  /** Listens to a signal; gives the way to stop. */
  onSignal(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): () => void;
  /** Ends the process at once, for what cannot wait for the orderly way. */
  exitNow(code: number): never;
}

/** A command: what it does with its flags, and the exit code that comes of it. */
export type Command<Flags> = (context: CommandContext, flags: Flags) => Promise<number>;

/** Flags of commands that ask a running host. */
export interface AskFlags {
  config?: string;
  socketDir?: string;
  network?: string;
  json?: boolean;
  /** Longest wait for an answer, seconds; 0 = as long as it takes. */
  timeout?: number;
}

/** Writes a fact as one JSON document; two spaces for people who look at it anyway. */
export function sayJson({ terminal }: CommandContext, value: unknown): void {
  terminal.say(JSON.stringify(value, undefined, terminal.interactive ? 2 : undefined));
}
