import { rmSync } from 'node:fs';
import { HostError } from '../contract/error.js';
import type { Host } from '../host/host.js';
import type { CommandContext } from './context.js';
import { EXIT } from './exit.js';
import type { RunLog } from './run-log.js';

/** Longest orderly stop, milliseconds: modules have 10 s of grace by default, the node and the sockets the rest. */
export const MAX_STOP_MS = 15_000;

/** Exit codes after a second signal: 128 and the signal's number, as shells have it. */
const FORCED = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Ends a run: in order at the first signal, at once at the second. */
export interface StopSwitch {
  /** The host that is to be stopped. */
  guard(host: Host): void;
  press(why: string): void;
  pressed(): boolean;
  /** Exit code of the run, once the stop that was begun is over. */
  readonly stopped: Promise<number>;
  /** Lets the signals go. */
  release(): void;
}

/**
 * Makes the switch and takes the signals: SIGINT and SIGTERM, and SIGHUP, which a closed terminal sends and which would
 * otherwise leave sockets behind.
 *
 * @param onStopping hears once that the orderly stop begins
 */
export function createStopSwitch(context: CommandContext, log: RunLog, onStopping: () => void): StopSwitch {
  let host: Host | undefined;
  let pressed = false;
  let settle: (code: number) => void = () => {};
  const stopped = new Promise<number>((resolve) => {
    settle = resolve;
  });

  const leave = (code: number): never => {
    // modules die with the host's process; what they leave in the socket directory is swept by the next start
    if (host !== undefined) rmSync(host.adminSocket, { force: true });
    log.flush();
    return context.exitNow(code);
  };
  const press = (why: string): void => {
    if (pressed) return;
    pressed = true;
    log.logger.info({}, `stopping: ${why}`);
    onStopping();
    const patience = setTimeout(() => {
      log.logger.error({}, `the stop took more than ${MAX_STOP_MS / 1000} s; leaving by force`);
      leave(EXIT.failed);
    }, MAX_STOP_MS);
    void (host?.stop() ?? Promise.resolve())
      .then(
        () => EXIT.ok,
        (error: unknown) => {
          log.logger.error({ reason: HostError.from(error).reason }, 'the stop failed; leaving by force');
          return EXIT.failed;
        },
      )
      .then((code) => {
        clearTimeout(patience);
        if (code === EXIT.ok) log.logger.info({}, 'stopped');
        settle(code);
      });
  };
  const releases = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) =>
    context.onSignal(signal, () => {
      if (pressed) leave(FORCED[signal]);
      else press(`${signal}; once more leaves at once`);
    }),
  );
  return {
    guard(guarded) {
      host = guarded;
    },
    press,
    pressed: () => pressed,
    stopped,
    release() {
      for (const release of releases) release();
    },
  };
}
