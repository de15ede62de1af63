import type { Command } from 'commander';
import type { CommandContext } from '../context.js';

/** Takes the exit code of the command that was called. */
export type Done = (work: Promise<number>) => Promise<void>;

/** Adds some commands to the program. Each loads its code when it is called, so that short ones stay quick. */
export type Branch = (program: Command, context: CommandContext, done: Done) => void;

/** Headings of the help page, in its order. */
export const GROUP = {
  host: 'The host:',
  modules: 'Modules:',
  watching: 'Looking on:',
  node: 'The node:',
  shell: 'Shell:',
} as const;
