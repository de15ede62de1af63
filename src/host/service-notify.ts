import { createRunOnce } from '../process/run-once.js';

/** How many times per watchdog interval the host says that it lives: one may be lost. */
const BEATS_PER_INTERVAL = 3;
/** Where systemd's program lies; never the host's PATH. */
const NOTIFY_PATH = '/usr/bin:/bin';

/** Tells the service manager how the host stands. Every method is quick and never throws: a host does not end for want of an ear. */
export interface ServiceNotifier {
  /** The host is up; from here on the watchdog hears from it. */
  ready(status: string): Promise<void>;
  /** The host has begun to stop. */
  stopping(): Promise<void>;
  /** Ends the watchdog's beat. */
  close(): void;
}

/**
 * Speaks sd_notify(3) by way of systemd-notify(1), since Node cannot send a datagram to a Unix socket. Without
 * NOTIFY_SOCKET in the environment it does nothing. The beat of the watchdog comes from the host's own event loop, so a
 * host that is stuck falls silent and is started anew (`WatchdogSec=`).
 *
 * The unit needs `NotifyAccess=all`, because the message comes from a child of the host.
 *
 * @param env environment of the host, of which NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read
 */
export function createServiceNotifier(env: Readonly<Record<string, string | undefined>>): ServiceNotifier {
  const run = createRunOnce();
  const socket = env.NOTIFY_SOCKET;
  let beat: NodeJS.Timeout | undefined;
  const tell = async (...words: string[]): Promise<void> => {
    if (socket === undefined || socket === '') return;
    await run({
      file: 'systemd-notify',
      args: words,
      env: { PATH: NOTIFY_PATH, NOTIFY_SOCKET: socket },
      cwd: '/',
      inputs: new Map(),
      nested: false,
      gate: undefined,
    });
  };
  return {
    async ready(status) {
      await tell('READY=1', `STATUS=${status}`);
      const intervalMs = watchdogMs(env);
      if (intervalMs === undefined || beat !== undefined) return;
      let busy = false;
      beat = setInterval(() => {
        // one at a time: a machine that is slow to start programs must not collect them
        if (busy) return;
        busy = true;
        void tell('WATCHDOG=1').finally(() => {
          busy = false;
        });
      }, intervalMs / BEATS_PER_INTERVAL);
      beat.unref();
    },
    stopping: () => tell('STOPPING=1'),
    close() {
      clearInterval(beat);
      beat = undefined;
    },
  };
}

/** Interval of the watchdog, milliseconds; undefined when there is none, or when it watches another process. */
function watchdogMs(env: Readonly<Record<string, string | undefined>>): number | undefined {
  const microseconds = Number(env.WATCHDOG_USEC);
  if (!Number.isSafeInteger(microseconds) || microseconds <= 0) return undefined;
  if (env.WATCHDOG_PID !== undefined && env.WATCHDOG_PID !== String(process.pid)) return undefined;
  return microseconds / 1000;
}
