import type { CommandContext } from './context.js';

/** Exit codes of programs that a signal has ended: 128 and its number. */
const EXIT_AT = { SIGINT: 130, SIGTERM: 143 } as const;

/** What Ctrl-C and SIGTERM mean to a command that waits: first an orderly end, then one at once. */
export interface Interrupt {
  readonly signal: AbortSignal;
  /** The exit code that the signal stands for; undefined while there was none. */
  code(): number | undefined;
  /** Leaves signals alone again. */
  release(): void;
}

/** Listens to Ctrl-C and SIGTERM; a second one ends the process at once. */
export function listenToInterrupt(context: CommandContext): Interrupt {
  const end = new AbortController();
  let code: number | undefined;
  const release = (['SIGINT', 'SIGTERM'] as const).map((name) =>
    context.onSignal(name, () => {
      if (code !== undefined) context.exitNow(EXIT_AT[name]);
      code = EXIT_AT[name];
      end.abort();
    }),
  );
  return {
    signal: end.signal,
    code: () => code,
    release() {
      for (const stop of release) stop();
    },
  };
}
