import type { Limits } from '../../gen/ts/modhost/v1/session.js';
import type { ErrorReason, HostError } from '../contract/error.js';
import type { Permission } from '../contract/permission.js';
import type { Clock } from '../core/clock.js';
import { createRecentCount, type RecentCount } from '../core/recent-count.js';
import type { Redactor } from '../core/redactor.js';
import type { ModuleConfig } from '../manifest/config.js';
import type { Manifest } from '../manifest/manifest.js';
import type { Monitor } from '../process/monitor.js';
import { createRestartBook, type RestartBook, type RestartTimes } from '../process/restart.js';
import type { SpawnWatch } from '../process/watch.js';
import type { Guarantee } from '../sandbox/guarantee.js';
import type { LifecycleEvents, ModuleStateName } from './lifecycle-events.js';
import type { ModuleLog } from './log-book.js';
import type { ModuleHealth } from './module-health.js';
import type { ModuleNetwork } from './module-network.js';
import type { ModuleSettings } from './options.js';
import type { Spawn } from './spawn.js';

/** Steps that a module's history keeps: several crashes with all that lies between them. */
export const MAX_HISTORY = 32;
/** Time over which the errors of a module are counted, milliseconds: a night's trouble is over in the morning. */
const ERROR_WINDOW_MS = 600_000;

/** What belongs to the present spawn of a module. */
export interface Running {
  spawn: Spawn;
  /** Version that runs; the manifest on disk may be newer. */
  version: string;
  /** True when somebody else starts the process. */
  external: boolean;
  /** Set once ModuleStarted was told: the process runs, or an external module has shown its token. */
  started: boolean;
  log: ModuleLog;
  /** What the manifest asks for and the operator does not grant. */
  withheld: readonly Permission[];
  containment: readonly Guarantee[];
  /** Undefined when nothing of the network is granted. */
  network: ModuleNetwork | undefined;
  limits: Limits;
  /** Its configuration in force, secrets included: what its handshake tells, or what it has taken since. */
  config: ModuleConfig;
  /** Takes its secrets out of what it says of itself. */
  redactor: Redactor;
  sdk: string;
  readyUnixMs: number;
  /** The same by the monotonic clock; 0 before Ready. */
  readyMonotonicMs: number;
  /** Whether it answers and what it says of itself. */
  health: ModuleHealth;
  /** Asks it from Ready on. */
  monitor: Monitor | undefined;
  /** Measures what it uses; undefined for an external module. */
  watch: SpawnWatch | undefined;
  progressPercent: number;
  progressMessage: string;
  announced: boolean;
  /**
   * What the guard decided: calls in all, and of them those refused for want of a permission, for a bound, or otherwise;
   * and how many of those that it let pass have failed.
   */
  calls: { total: bigint; denied: bigint; limited: bigint; refused: bigint; failed: bigint };
}

/** What a module that does not run waits for, to be started by itself. */
export type Waiting =
  /** The end of its backoff, by the monotonic clock. */
  | { readonly kind: 'time'; readonly dueMs: number; readonly timer: NodeJS.Timeout }
  /** A module that it needs. */
  | { readonly kind: 'module'; readonly name: string };

/** One step in the life of a module. */
export interface Step {
  readonly timeUnixMs: number;
  readonly from: ModuleStateName;
  readonly to: ModuleStateName;
  readonly reason: string;
  readonly instanceId: string;
}

/** One module that the host knows: what it is, where it stands, why. */
export interface Slot {
  readonly name: string;
  manifest: Manifest;
  dir: string;
  settings: ModuleSettings;
  unsigned: boolean;
  running: Running | undefined;
  /** True while a start is under way, from its first check to Ready. */
  starting: boolean;
  /** Commands that wait for their turn and want the module stopped: a start that sees one gives up. */
  halting: number;
  /** True from the command that loads it until one unloads it, or its policy does: only then it is started by itself. */
  wanted: boolean;
  /** What it is started by; undefined while it runs, or when nothing but a command starts it. */
  waiting: Waiting | undefined;
  /** Settles when nothing of the last spawn is left, at the node neither. */
  cleared: Promise<void>;
  /** True once a process of it has run, or an external one was offered its socket. */
  spawned: boolean;
  /** Spawns after the first, whoever asked for them. */
  restarts: number;
  /** Its crashes, and what follows from each. */
  readonly book: RestartBook;
  /** What went wrong with it lately. */
  readonly errors: RecentCount<ErrorReason>;
  lastError: { error: HostError; timeUnixMs: number } | undefined;
  /** Turn of the module's commands: each begins when the one before has ended. */
  turn: Promise<unknown>;
  state(): ModuleStateName;
  /** Why it is in that state, for people. */
  why(): string;
  /** Its last steps, the oldest first, at most MAX_HISTORY. */
  history(): readonly Step[];
  /** Moves on, tells the event, remembers why; in the same state only the reason is new. */
  move(state: ModuleStateName, reason: string): void;
  /** Remembers what went wrong. */
  blame(error: HostError): void;
}

/** What a slot is made of. */
export interface SlotParts {
  events: LifecycleEvents;
  clock: Clock;
  restartTimes: RestartTimes;
  /** Random numbers in [0, 1). */
  random(): number;
  /** Hears of every step, after it was told. */
  onMoved(slot: Slot, before: ModuleStateName): void;
}

/** Makes the record of a module that was just found. */
export function createSlot(
  facts: { manifest: Manifest; dir: string; settings: ModuleSettings; unsigned: boolean },
  parts: SlotParts,
): Slot {
  const { clock } = parts;
  let state: ModuleStateName = 'DISCOVERED';
  let why = 'found on disk';
  const steps: Step[] = [];
  const slot: Slot = {
    name: facts.manifest.name,
    manifest: facts.manifest,
    dir: facts.dir,
    settings: facts.settings,
    unsigned: facts.unsigned,
    running: undefined,
    starting: false,
    halting: 0,
    wanted: false,
    waiting: undefined,
    cleared: Promise.resolve(),
    spawned: false,
    restarts: 0,
    book: createRestartBook({
      rules: () => slot.manifest.restart,
      times: parts.restartTimes,
      clock,
      random: parts.random,
    }),
    errors: createRecentCount(clock, ERROR_WINDOW_MS),
    lastError: undefined,
    turn: Promise.resolve(),
    state: () => state,
    why: () => why,
    history: () => steps,
    move(next, reason) {
      const before = state;
      state = next;
      why = reason;
      if (before === next) return;
      const instanceId = slot.running?.spawn.instanceId ?? '';
      steps.push({ timeUnixMs: clock.unixMs(), from: before, to: next, reason, instanceId });
      if (steps.length > MAX_HISTORY) steps.shift();
      parts.events.moduleStateChanged(slot.name, instanceId, before, next);
      parts.onMoved(slot, before);
    },
    blame(error) {
      slot.lastError = { error, timeUnixMs: clock.unixMs() };
      slot.errors.add(error.reason);
    },
  };
  return slot;
}

/** Commands on one module run one after the other, in the order in which they were given. */
export function inTurn<T>(slot: Slot, command: () => Promise<T>): Promise<T> {
  const result = slot.turn.then(command);
  slot.turn = result.catch(() => {});
  return result;
}

/** True when a process of it runs or is being started. */
export function isUp(slot: Slot): boolean {
  return slot.running !== undefined || slot.starting;
}

/** True when others can call it: it is Ready and has not been asked to stop. */
export function isAvailable(slot: Slot | undefined): boolean {
  return slot?.state() === 'RUNNING' || slot?.state() === 'DEGRADED';
}

/** Calls of a spawn that the guard has let pass. */
export function passedCalls({ calls }: Running): bigint {
  return calls.total - calls.denied - calls.limited - calls.refused;
}

/** Where a module stands, as sentences say it. */
export function inWords(slot: Slot | undefined): string {
  return slot === undefined ? 'not there' : slot.state().toLowerCase();
}
