import { type ConnectOptions, connect, type Module } from './connect.js';
import { ModhostError } from './error.js';

/** How long `main` may take to return after it was asked to stop, milliseconds; the host's own grace is 10,000. */
const STOP_MS = 5_000;
/** Exit code of a program that was started by hand: EX_USAGE of sysexits.h. */
const EXIT_USAGE = 64;

/**
 * Runs a whole module as this process: connects, calls `main`, and ends the process when `main` returns: exit code 0, or 1
 * when it failed, or 64 when nobody but a person started it. It takes SIGTERM and SIGINT for this process, which is why
 * programs that embed a module call `connect` instead.
 *
 * @param main gets the session, and a signal that fires when host or system want the module to stop; it calls
 *   `module.ready()` once it works
 */
export async function runModule(
  options: ConnectOptions,
  main: (module: Module, signal: AbortSignal) => Promise<void>,
): Promise<never> {
  const stop = new AbortController();
  const onSignal = (): void => {
    stop.abort();
    // not unref'd: a main that hangs must end all the same
    setTimeout(() => process.exit(0), STOP_MS);
  };
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  let module: Module | undefined;
  try {
    module = await connect(options);
    await main(module, AbortSignal.any([stop.signal, module.ended]));
    await module.close();
    return process.exit(0);
  } catch (thrown) {
    const error = ModhostError.from(thrown);
    const asked = stop.signal.aborted || error.reason === 'SESSION_CLOSED' || error.reason === 'HOST_STOPPING';
    if (!asked) process.stderr.write(`${error.reason}: ${error.message}\n${stackOf(error)}`);
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
