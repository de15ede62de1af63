import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import { inTime } from '../core/in-time.js';
import type { Logger } from '../core/logger.js';
import type {
  Bounded,
  ModuleDirectories,
  ModuleIdentity,
  Program,
  SandboxEngine,
  SandboxNetwork,
} from '../sandbox/engine.js';
import { LAUNCH_WORD } from '../sandbox/gate.js';
import type { ResourceGroup } from '../sandbox/group.js';
import type { ResourceLimits } from '../sandbox/limits.js';
import { diagnoseLaunch } from './diagnose.js';
import { assertExecutable } from './entry-point.js';
import { moduleEnvironment, type SocketFiles } from './environment.js';
import { describeExit, type ExitReport } from './exit.js';
import { type Interpreters, resolveInterpreter } from './interpreters.js';
import type { OutputLine } from './output.js';
import { awaitProgram, gatedPayload, type Payload } from './payload.js';
import type { RunningProcess } from './running-process.js';
import { type Spawned, spawnCommand } from './spawn.js';
import { awaitReady, openGate } from './start-gate.js';
import { type SupervisedChild, superviseChild } from './supervise.js';

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
  /** Control group of this spawn, the runner's from here on: it is removed after the end, or when nothing starts. */
  readonly group?: ResourceGroup | undefined;
  /** Which limits that group holds; rlimits stand in for the others. */
  readonly bounded?: Bounded;
  readonly network?: SandboxNetwork | undefined;
  /**
   * Called when everything around the program stands and before it runs, with the process whose namespaces are the
   * sandbox's outer ones: network is attached here. A rejection ends the start and is its error.
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
   * @throws HostError BAD_ENTRY_POINT, INTERPRETER_MISSING, START_FAILED with the sandbox's or the kernel's word, and
   *   whatever `beforeGo` rejects with
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

/** How long the launch chain may take until everything around the program stands, milliseconds; it takes 10 to 200. */
const READY_TIMEOUT_MS = 30_000;
/** How long `beforeGo` may take, milliseconds: it opens a few sockets, on a machine that may be busy starting. */
const BEFORE_GO_TIMEOUT_MS = 15_000;

/** Makes the runner of a host. */
export function createRunner(options: RunnerOptions): Runner {
  return {
    async start(spec) {
      const child = await spawnChain(options, spec).catch(async (error: unknown) => {
        await spec.group?.remove();
        throw error;
      });
      try {
        const payload = await passGate(spec, child);
        return child.running(payload);
      } catch (error) {
        await child.kill();
        throw error;
      }
    },
  };
}

/** A child, and what the gate needs of it. */
type GatedChild = SupervisedChild & { readonly spawned: Spawned; readonly nested: boolean };

async function spawnChain(
  { engine, interpreters, logger, clock }: RunnerOptions,
  spec: StartSpec,
): Promise<GatedChild> {
  const view = engine.view(spec.directories);
  const { program, args } = await programOf(spec, interpreters, view.code);
  const command = await engine.prepare({
    name: spec.name,
    directories: spec.directories,
    program,
    args,
    env: moduleEnvironment(spec, view, spec.files, spec.env),
    limits: spec.limits,
    identity: spec.identity,
    extraReadOnly: spec.extraReadOnly ?? [],
    joinFiles: spec.group?.joinFiles ?? [],
    bounded: spec.bounded ?? { memory: false, pids: false },
    network: spec.network,
  });
  const spawned = await spawnCommand(command);
  const log = logger.child({ module: spec.name, instance: spec.instanceId });
  const onLine = spec.onLine ?? ((line: OutputLine) => logLine(log, line));
  const child = superviseChild(spawned, { clock, onLine, group: spec.group, translated: command.nested });
  return { ...child, spawned, nested: command.nested };
}

/** Ready, what the caller does before, go, and the program runs: each wait has its bound. */
async function passGate(spec: StartSpec, child: GatedChild): Promise<Payload> {
  const { spawned, nested, ended } = child;
  const { gate, pid } = spawned;
  if (gate === undefined) throw new HostError('INTERNAL', 'the engine gave a command without a start gate');
  const isReady = await standing(awaitReady(gate, ended), READY_TIMEOUT_MS, `${spec.name}: the sandbox`);
  const payload = isReady ? await gatedPayload(pid, nested, ended) : undefined;
  if (payload === undefined && (!isReady || ended.aborted)) return neverRan(spec, child);
  if (payload === undefined) throw new HostError('START_FAILED', `${spec.name}: its process is not shown in /proc`);
  if (spec.beforeGo !== undefined) {
    await standing(spec.beforeGo(pid), BEFORE_GO_TIMEOUT_MS, `${spec.name}: what must stand before its program`);
  }
  openGate(gate);
  if (!(await awaitProgram(payload, ended))) await assertRan(spec, await child.exited);
  return payload;
}

/** A chain that ended before the gate was reached: its own words tell why. */
async function neverRan(spec: StartSpec, child: SupervisedChild): Promise<never> {
  const exit = await child.exited;
  await assertRan(spec, exit);
  throw new HostError('START_FAILED', `${spec.name}: the sandbox ${describeExit(exit)} before its program ran`, {
    details: { module: spec.name, cause: 'launcher', stderr: exit.stderrTail },
  });
}

/** @throws HostError START_FAILED when it is too late, or what the work rejects with */
function standing<T>(work: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  const late = () =>
    new HostError('START_FAILED', `${what} did not stand within ${timeoutMs} ms`, { details: { timeoutMs } });
  return inTime(work, timeoutMs, late);
}

async function programOf(
  spec: StartSpec,
  interpreters: Interpreters,
  seenAs: string,
): Promise<{ program: Program; args: readonly string[] }> {
  const [interpreter, ...args] = spec.command ?? [];
  if (interpreter !== undefined) {
    return { program: { from: 'host', path: await resolveInterpreter(interpreter, interpreters) }, args };
  }
  await assertExecutable({
    codeDir: spec.directories.code,
    seenAs,
    path: spec.entryPoint,
    identity: spec.identity,
    extraReadOnly: spec.extraReadOnly ?? [],
  });
  return { program: { from: 'module', path: spec.entryPoint }, args: [] };
}

/** What programs of the launch chain begin their last words with. */
const LAUNCHER_WORDS = new RegExp(
  `^(?:${LAUNCH_WORD}|bwrap|landlock|setpriv|prlimit|unshare|mount|ip|RTNETLINK|sh|bash|env|/mnt|/media|/srv|/opt|/tmp)\\b[^\\n]*`,
  'm',
);
const GATE_NAME = new RegExp(`^${LAUNCH_WORD}\\S*: (?:line )?\\d+: (?:exec: )?`);
/**
 * Tells a program that ran and ended at once, which is for the supervisor to judge, from one that never ran.
 *
 * @throws HostError START_FAILED when the launcher gave the reason itself
 */
async function assertRan(spec: StartSpec, exit: ExitReport): Promise<void> {
  if (exit.requested) return;
  // The gate's shell says its own name first, which tells people nothing.
  const words = LAUNCHER_WORDS.exec(exit.stderrTail)?.[0].replace(GATE_NAME, '');
  if (exit.code === 0 || exit.signal !== null || words === undefined) return;
  throw diagnoseLaunch(spec.name, exit, words);
}

function logLine(log: Logger, { stream, text, cut, dropped }: OutputLine): void {
  if (dropped > 0) log.warn({ stream, dropped }, text);
  else log.info(cut ? { stream, cut } : { stream }, text);
}
