import type { Clock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import type { ResourceGroup } from '../sandbox/group.js';
import { decodeExit, type ExitReport } from './exit.js';
import { hear } from './hear.js';
import { createOutputCapture, type OutputLine } from './output.js';
import { killOrphanedGroup, type Payload, signalPayload } from './payload.js';
import type { RunningProcess } from './running-process.js';
import type { Spawned } from './spawn.js';
import { abandonGate } from './start-gate.js';

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

/** What is known of a child besides its process. */
export interface ChildOptions {
  readonly clock: Clock;
  readonly onLine: (line: OutputLine) => void;
  /** Control group that the child has joined; it is killed with the child, and removed after it. */
  readonly group: ResourceGroup | undefined;
  /** True when the child tells a signal that ended the program as an exit code. */
  readonly translated: boolean;
}

/** Hears, times and ends one child. */
export function superviseChild(spawned: Spawned, options: ChildOptions): SupervisedChild {
  const { child, pid } = spawned;
  const { group } = options;
  const capture = createOutputCapture(options.clock, options.onLine);
  const ended = new AbortController();
  let requested = false;
  const streams = { stdout: spawned.stdout, stderr: spawned.stderr };
  const drained = (['stdout', 'stderr'] as const).map((name) => hear(streams[name], name, capture, ended.signal));
  const exited = new Promise<ExitReport>((resolve) => {
    child.once('exit', () => {
      ended.abort();
      if (spawned.gate !== undefined) abandonGate(spawned.gate);
      killOrphanedGroup(pid);
      group?.kill();
      const timer = setTimeout(() => {
        spawned.stdout.destroy();
        spawned.stderr.destroy();
      }, DRAIN_MS);
      child.once('close', () => clearTimeout(timer));
    });
    child.once('close', (code, signal) => {
      void Promise.all(drained.map((all) => all())).then(async () => {
        capture.end('stdout');
        capture.end('stderr');
        const report: ExitReport = {
          ...decodeExit(code, signal, options.translated),
          oomKills: group?.usage().oomKills,
          stderrTail: capture.stderrTail(),
          requested,
        };
        // Told once nothing is left: whoever hears of the end may start the next one in the same place.
        await group?.remove();
        resolve(report);
      });
    });
  });
  const kill = (): Promise<ExitReport> => {
    requested ||= !ended.signal.aborted;
    // Node holds the child's number until it has reaped it: this never reaches a stranger.
    child.kill('SIGKILL');
    if (!ended.signal.aborted) group?.kill();
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
