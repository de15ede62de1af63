import type { Readable } from 'node:stream';
import type { Clock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import { decodeExit, type ExitReport } from './exit.js';
import { createOutputCapture, type OutputLine } from './output.js';
import { killOrphanedGroup, type Payload, signalPayload } from './payload.js';
import type { RunningProcess } from './running-process.js';
import type { Spawned } from './spawn.js';

/** How long after the exit the pipes may stay open, milliseconds: an unconfined grandchild can hold them for ever. */
const DRAIN_MS = 500;

/** A spawned process whose output is heard and whose end will be told. */
export interface SupervisedChild {
  readonly exited: Promise<ExitReport>;
  /** Aborts when the process has ended. */
  readonly ended: AbortSignal;
  /** Kills it with all its children. */
  kill(): Promise<ExitReport>;
  /** The handle for the rest of the house, once it is known which process is the module. */
  running(payload: Payload): RunningProcess;
}

/** Hears, times and ends one child. */
export function superviseChild(spawned: Spawned, clock: Clock, onLine: (line: OutputLine) => void): SupervisedChild {
  const { child, pid } = spawned;
  const capture = createOutputCapture(clock, onLine);
  const ended = new AbortController();
  let requested = false;
  const streams = { stdout: spawned.stdout, stderr: spawned.stderr };
  for (const [name, stream] of Object.entries(streams) as ['stdout' | 'stderr', Readable][]) {
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => {
      const waitMs = capture.feed(name, chunk);
      if (waitMs === 0 || ended.signal.aborted) return;
      stream.pause();
      void delay(waitMs, ended.signal).then(() => stream.resume());
    });
  }
  const exited = new Promise<ExitReport>((resolve) => {
    child.once('exit', () => {
      ended.abort();
      killOrphanedGroup(pid);
      const timer = setTimeout(() => {
        spawned.stdout.destroy();
        spawned.stderr.destroy();
        spawned.status?.destroy();
      }, DRAIN_MS);
      child.once('close', () => clearTimeout(timer));
    });
    child.once('close', (code, signal) => {
      capture.end('stdout');
      capture.end('stderr');
      resolve({ ...decodeExit(code, signal), stderrTail: capture.stderrTail(), requested });
    });
  });
  const kill = (): Promise<ExitReport> => {
    requested ||= !ended.signal.aborted;
    // Node holds the child's number until it has reaped it: this never reaches a stranger.
    child.kill('SIGKILL');
    return exited;
  };
  return {
    exited,
    ended: ended.signal,
    kill,
    running: (payload) => ({
      pid: payload.pid,
      exited,
      kill,
      stderrTail: () => capture.stderrTail(),
      async stop(graceMs) {
        if (ended.signal.aborted) return exited;
        requested = true;
        signalPayload(payload, 'SIGTERM');
        await delay(graceMs, ended.signal);
        return ended.signal.aborted ? exited : kill();
      },
    }),
  };
}
