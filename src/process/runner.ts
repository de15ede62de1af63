import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { ModuleDirectories, ModuleIdentity, Program, SandboxEngine, SandboxNetwork } from '../sandbox/engine.js';
import type { ResourceGroup } from '../sandbox/group.js';
import type { ResourceLimits } from '../sandbox/limits.js';
import { assertExecutable } from './entry-point.js';
import { moduleEnvironment, type SocketFiles } from './environment.js';
import { describeExit, type ExitReport } from './exit.js';
import { type Interpreters, resolveInterpreter } from './interpreters.js';
import type { OutputLine } from './output.js';
import { awaitPayload, payloadOf } from './payload.js';
import type { RunningProcess } from './running-process.js';
import { spawnCommand } from './spawn.js';
import { superviseChild } from './supervise.js';

/** One module to start. Directories exist, are free of links, and belong to the identity. */
export interface StartSpec {
  readonly name: string;
  /** This spawn. */
  readonly instanceId: string;
  readonly directories: ModuleDirectories;
  readonly files: SocketFiles;
  /** Path inside the code directory; used when there is no `command`. */
  readonly entryPoint: string;
  /** Interpreter's name and arguments, from the manifest. */
  readonly command: readonly string[] | undefined;
  /** `[run].env` of the manifest. */
  readonly env: ReadonlyMap<string, string>;
  readonly limits: ResourceLimits;
  readonly identity: ModuleIdentity | undefined;
  readonly extraReadOnly?: readonly string[];
  /** Control group of this spawn; undefined where there is none. */
  readonly group?: ResourceGroup | undefined;
  readonly network?: SandboxNetwork | undefined;
  /**
   * Called when everything around the program stands and before it runs, with the process whose namespaces are the
   * sandbox's outer ones: network is attached here. A rejection ends the start.
   */
  readonly beforeGo?: ((sandboxPid: number) => Promise<void>) | undefined;
  /** Hears each line instead of the log. */
  readonly onLine?: (line: OutputLine) => void;
}

/** Starts modules; never restarts one, never signals what it did not start. */
export interface Runner {
  /**
   * Starts one module and returns once its program runs.
   *
   * @throws HostError BAD_ENTRY_POINT, INTERPRETER_MISSING, START_FAILED with the sandbox's or the kernel's word
   */
  start(spec: StartSpec): Promise<RunningProcess>;
}

/** What a runner works with. */
export interface RunnerOptions {
  readonly engine: SandboxEngine;
  readonly interpreters: Interpreters;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** How long sandbox and launchers may take until the module's program runs, milliseconds; it takes 20 to 200. */
const LAUNCH_TIMEOUT_MS = 30_000;

/** Makes the runner of a host. */
export function createRunner({ engine, interpreters, logger, clock }: RunnerOptions): Runner {
  return {
    async start(spec) {
      const { program, args } = await programOf(spec, interpreters);
      const command = await engine.prepare({
        name: spec.name,
        directories: spec.directories,
        program,
        args,
        env: moduleEnvironment(spec, engine.view(spec.directories), spec.files, spec.env),
        limits: spec.limits,
        identity: spec.identity,
        extraReadOnly: spec.extraReadOnly ?? [],
        joinFiles: spec.group?.joinFiles ?? [],
        network: spec.network,
      });
      const spawned = await spawnCommand(command);
      const log = logger.child({ module: spec.name, instance: spec.instanceId });
      const child = superviseChild(spawned, clock, spec.onLine ?? ((line) => logLine(log, line)));
      // A mount that hangs would hang the start: the chain gets a bound of its own, before the module's begins.
      const timer = setTimeout(() => void child.kill(), LAUNCH_TIMEOUT_MS);
      const payload =
        spawned.status === undefined
          ? payloadOf(spawned.pid)
          : await awaitPayload(spawned.status, command.launchers, child.ended);
      clearTimeout(timer);
      if (payload === undefined) await assertRan(spec, await child.exited);
      return child.running(payload ?? { pid: spawned.pid, startTicks: '' });
    },
  };
}

async function programOf(
  spec: StartSpec,
  interpreters: Interpreters,
): Promise<{ program: Program; args: readonly string[] }> {
  const [interpreter, ...args] = spec.command ?? [];
  if (interpreter !== undefined) {
    return { program: { from: 'host', path: await resolveInterpreter(interpreter, interpreters) }, args };
  }
  await assertExecutable(spec.directories.code, spec.entryPoint, spec.identity);
  return { program: { from: 'module', path: spec.entryPoint }, args: [] };
}

/** What programs of the launch chain begin their last words with. */
const LAUNCHER_WORDS =
  /^(?:bwrap|setpriv|prlimit|unshare|mount|sh|bash|close|env|\/mnt|\/media|\/srv|\/opt|\/tmp)\b[^\n]*/m;
const ERRNO: readonly (readonly [RegExp, string])[] = [
  [/no such file/i, 'ENOENT'],
  [/permission denied/i, 'EACCES'],
  [/exec format error/i, 'ENOEXEC'],
];

/**
 * Tells a program that ran and ended at once, which is for the supervisor to judge, from one that never ran.
 *
 * @throws HostError START_FAILED when the launcher gave the reason itself
 */
async function assertRan(spec: StartSpec, exit: ExitReport): Promise<void> {
  if (exit.requested) {
    throw new HostError('START_FAILED', `${spec.name}: the sandbox did not start within ${LAUNCH_TIMEOUT_MS} ms`);
  }
  const words = LAUNCHER_WORDS.exec(exit.stderrTail)?.[0];
  if (exit.code === 0 || exit.signal !== null || words === undefined) return;
  const errno = ERRNO.find(([pattern]) => pattern.test(words))?.[1] ?? '';
  const hint = errno === 'ENOENT' ? ' (the program, its loader, or the interpreter in its first line is missing)' : '';
  throw new HostError('START_FAILED', `${spec.name} ${describeExit(exit)} before its program ran: ${words}${hint}`, {
    details: { module: spec.name, errno, stderr: exit.stderrTail },
  });
}

function logLine(log: Logger, { stream, text, cut, dropped }: OutputLine): void {
  if (dropped > 0) log.warn({ stream, dropped }, text);
  else log.info(cut ? { stream, cut } : { stream }, text);
}
