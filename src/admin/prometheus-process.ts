import { readdirSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** How finely delays of the loop are measured, milliseconds. */
const RESOLUTION_MS = 20;
const NS_PER_S = 1e9;

/** Numbers of the process that the host runs in. */
export interface ProcessNumbers {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
  /** 0 where the system does not tell. */
  readonly openFiles: number;
  readonly startUnixSeconds: number;
  /** Delays of the event loop since the last reading. */
  readonly loopDelaySeconds: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** Reads the numbers of this process. */
export interface ProcessGauge {
  read(): ProcessNumbers;
  close(): void;
}

/**
 * Makes a gauge of this process. It measures the loop from its first reading on, so that a host that nobody scrapes pays
 * nothing, and lets go of everything when it closes, which prom-client's own defaults cannot.
 */
export function createProcessGauge(): ProcessGauge {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const startUnixSeconds = Date.now() / 1_000 - process.uptime();
  return {
    read() {
      // enabling what is enabled changes nothing
      delay.enable();
      const none = delay.max === 0;
      const seconds = (ns: number): number => (none ? 0 : Math.max(0, ns / NS_PER_S - RESOLUTION_MS / 1_000));
      const loopDelaySeconds = {
        p50: seconds(delay.percentile(50)),
        p99: seconds(delay.percentile(99)),
        max: seconds(delay.max),
      };
      delay.reset();
      const { user, system } = process.cpuUsage();
      const { rss, heapUsed, external } = process.memoryUsage();
      return {
        cpuSeconds: (user + system) / 1e6,
        residentBytes: rss,
        heapUsedBytes: heapUsed,
        externalBytes: external,
        openFiles: countOpenFiles(),
        startUnixSeconds,
        loopDelaySeconds,
      };
    },
    close: () => void delay.disable(),
  };
}

function countOpenFiles(): number {
  try {
    // one of them is the directory that is being read
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return 0;
  }
}
