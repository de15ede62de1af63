import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import type { StartGate } from './engine.js';

/**
 * Begins one argument of every process of a launch chain and of none after it: by it a process is told that has not yet
 * become the module's program.
 */
export const LAUNCH_WORD = 'modhost-launch';

/** What the host writes to the gate's go descriptor; the program runs after it. */
export const GO = 'go\n';

/** Exit code of the gate when the host has gone, or gave up, before it said go. */
export const EXIT_NO_GO = 126;

/**
 * Variables that the gate's own shell may have: those that the contract sets, which no loader and no shell obeys. What a
 * manifest adds (LD_PRELOAD, for one) would run code of the module before the gate opens.
 */
const GATE_VARIABLES = /^(?:PATH|MODHOST_[A-Z_]+|SOCKET_PATH|MODULE_ID|MODULE_NAME|DATA_DIR)$/;

/** What runs behind the gate. */
export interface GatedProgram {
  readonly gate: StartGate;
  /** `launchWord` of the host. */
  readonly word: string;
  /** Bound of processes, set in the user namespace that the gate runs in and counted there; undefined = none. */
  readonly processes: number | undefined;
  /** Begins with `env` and sets what the gate's shell must not have; empty = nothing to set. */
  readonly env: readonly string[];
  readonly program: string;
  readonly args: readonly string[];
}

/**
 * The argument by which the chains of one host can be found: a host that was killed leaves nothing else by which the next
 * one could tell its own. The directory itself is not in it, since the module can read it.
 *
 * @param runDir directory that only one host at a time may have
 */
export function launchWord(runDir: string): string {
  return `${LAUNCH_WORD}:${createHash('sha256').update(realpathSync(runDir)).digest('hex').slice(0, 16)}`;
}

/** The environment in two parts: what the gate's shell may see, and what is set after it. */
export function splitEnvironment(env: Readonly<Record<string, string>>): {
  readonly before: readonly (readonly [string, string])[];
  readonly after: readonly (readonly [string, string])[];
} {
  const entries = Object.entries(env);
  const isHarmless = ([name]: readonly [string, string]): boolean => GATE_VARIABLES.test(name);
  return { before: entries.filter(isHarmless), after: entries.filter((entry) => !isHarmless(entry)) };
}

/**
 * A shell that tells the host that everything around the program stands, waits for its word, and becomes the program with
 * an empty standard input and without the gate's descriptors. End of file instead of the word, which is what a host that
 * was killed leaves, ends it.
 */
export function gatedProgram({ gate, word, processes, env, program, args }: GatedProgram): string[] {
  const { readyFd, goFd } = gate;
  const bound = processes === undefined ? '' : `${processBound(processes)}\n`;
  // A file that grows past RLIMIT_FSIZE then answers EFBIG; the signal would kill a program that may well cope.
  const script = `trap '' XFSZ
${bound}echo r >&${readyFd}
IFS= read -r word <&${goFd} && [ "$word" = go ] || exit ${EXIT_NO_GO}
exec "$@" </dev/null ${readyFd}>&- ${goFd}<&-`;
  // `env` would take a path with = in it for one more variable: a shell that becomes the program stands in between.
  const direct = env.length > 0 && program.includes('=') ? ['/bin/sh', '-c', 'exec "$@"', word, program] : [program];
  return ['/bin/sh', '-c', script, word, ...env, ...direct, ...args];
}

/** `ulimit` has another letter for RLIMIT_NPROC in each shell; a bound that cannot be set must not be left out quietly. */
function processBound(processes: number): string {
  return `ulimit -u ${processes} 2>/dev/null || ulimit -p ${processes} || exit ${EXIT_NO_GO}`;
}
