import { type ConnectOptions, connect, type Module } from './connect.js';
import { ModhostError } from './error.js';
import type { Handlers } from './invocations.js';
import { isSessionOver } from './retry.js';

/** How long `main` may take to return after it was asked to stop, milliseconds; the host's own grace is 10,000. */
const STOP_MS = 5_000;
/** Share of the grace that `main` has after a Stop invocation; the host sends SIGTERM at three quarters of it. */
const STOP_SHARE = 0.6;
/** Exit code of a program that was started by hand: EX_USAGE of sysexits.h. */
const EXIT_USAGE = 64;

/** Who runs, and what it answers when it is asked. */
export interface RunOptions extends ConnectOptions {
  /**
   * Answers to the host's invocations. A health check and the wish to stop are answered without a handler too: the one says
   * that the module lives, the other fires the signal of `main` and is answered when `main` has returned. A handler for
   * `stop` is called before that.
   */
  handlers?: Handlers;
  /** Invocations that the module wants to have open at a time [as many as the host allows]. */
  maxConcurrent?: number;
}

/**
 * Runs a whole module as this process: connects, calls `main`, and ends the process when `main` returns: exit code 0, or 1
 * when it failed, or 64 when nobody but a person started it. It takes SIGTERM and SIGINT for this process, which is why
 * programs that embed a module call `connect` instead.
 *
 * @param main gets the session, and a signal that fires when host or system want the module to stop; it calls
 *   `module.ready()` once it works
 */
export async function runModule(
  options: RunOptions,
  main: (module: Module, signal: AbortSignal) => Promise<void>,
): Promise<never> {
  const { handlers, maxConcurrent, ...connecting } = options;
  const stop = new AbortController();
  let isOver: () => void = () => {};
  const over = new Promise<void>((resolve) => {
    isOver = resolve;
  });
  const stopWithin = (ms: number): void => {
    if (stop.signal.aborted) return;
    stop.abort();
    // not unref'd: a main that hangs must end all the same
    setTimeout(() => process.exit(0), ms);
  };
  const onSignal = (): void => stopWithin(STOP_MS);
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  let module: Module | undefined;
  try {
    module = await connect(connecting);
    module.serve(
      {
        ...handlers,
        async stop(wish, context) {
          await handlers?.stop?.(wish, context);
          stopWithin(wish.graceMs * STOP_SHARE);
          await over;
        },
      },
      maxConcurrent,
    );
    await main(module, AbortSignal.any([stop.signal, module.ended]));
    isOver();
    await module.close();
    return process.exit(0);
  } catch (thrown) {
    const error = ModhostError.from(thrown);
    // what main was doing fails as given up when the session ends under it
    const why = module?.ended.aborted ? ModhostError.from(module.ended.reason) : error;
    const asked = stop.signal.aborted || [error, why].some(isSessionOver);
    if (!asked) process.stderr.write(`${error.reason}: ${error.message}\n${stackOf(error)}`);
    isOver();
    await module?.close();
    if (asked) return process.exit(0);
    return process.exit(error.reason === 'NOT_STARTED_BY_HOST' ? EXIT_USAGE : 1);
  }
}

/** Where a defect of the module's own code is; reasons of the host need no stack. */
function stackOf(error: ModhostError): string {
  const cause = error.reason === 'INTERNAL' && error.cause instanceof Error ? error.cause.stack : undefined;
  return cause === undefined ? '' : `${cause}\n`;
}
