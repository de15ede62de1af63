import { type ModuleStatus, RunMode } from '../../gen/ts/modhost/admin/v1/status.js';
import type { QueueStats } from '../../gen/ts/modhost/event/v1/event_service.js';
import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import type { Limits } from '../../gen/ts/modhost/v1/session.js';
import type { HostError } from '../contract/error.js';
import { type Permission, permissionNumber } from '../contract/permission.js';
import { printableLine } from '../core/printable.js';
import type { Manifest } from '../manifest/manifest.js';
import type { Guarantee } from '../sandbox/guarantee.js';
import { wireGuarantee } from './facts.js';
import type { LifecycleEvents, ModuleStateName } from './lifecycle-events.js';
import type { ModuleLog } from './log-book.js';
import type { ModuleSettings } from './options.js';
import type { Spawn } from './spawn.js';

/** Longest description that a status shows. */
const MAX_SHOWN_CHARS = 512;

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
  limits: Limits;
  sdk: string;
  readyUnixMs: number;
  progressPercent: number;
  progressMessage: string;
  announced: boolean;
  calls: { total: bigint; denied: bigint; limited: bigint };
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
  /** Settles when nothing of the last spawn is left, at the node neither. */
  cleared: Promise<void>;
  /** True once a process of it has run, or an external one was offered its socket. */
  spawned: boolean;
  /** Spawns after the first, whoever asked for them. */
  restarts: number;
  /** Spawns that ended unexpectedly. */
  crashes: number;
  lastError: { error: HostError; timeUnixMs: number } | undefined;
  /** Turn of the module's commands: each begins when the one before has ended. */
  turn: Promise<unknown>;
  state(): ModuleStateName;
  /** Moves on, tells the event, remembers why. */
  move(state: ModuleStateName, reason: string): void;
  status(queues: readonly QueueStats[]): ModuleStatus;
}

/** Makes the record of a module that was just found. */
export function createSlot(
  facts: { manifest: Manifest; dir: string; settings: ModuleSettings; unsigned: boolean },
  events: LifecycleEvents,
): Slot {
  let state: ModuleStateName = 'DISCOVERED';
  let why = 'found on disk';
  const slot: Slot = {
    name: facts.manifest.name,
    manifest: facts.manifest,
    dir: facts.dir,
    settings: facts.settings,
    unsigned: facts.unsigned,
    running: undefined,
    starting: false,
    halting: 0,
    cleared: Promise.resolve(),
    spawned: false,
    restarts: 0,
    crashes: 0,
    lastError: undefined,
    turn: Promise.resolve(),
    state: () => state,
    move(next, reason) {
      const before = state;
      state = next;
      why = reason;
      events.moduleStateChanged(slot.name, slot.running?.spawn.instanceId ?? '', before, next);
    },
    status(queues) {
      const { running, manifest, settings } = slot;
      const external = settings.run === 'external';
      const waiting = external && running !== undefined && running.spawn.session.state() === 'waiting';
      return {
        name: slot.name,
        version: running?.version ?? manifest.version,
        description: printableLine(manifest.description, MAX_SHOWN_CHARS),
        state: ModuleState[state],
        reason: printableLine(why, MAX_SHOWN_CHARS),
        pid: running?.spawn.process?.pid ?? 0,
        instanceId: running?.spawn.instanceId ?? '',
        restarts: slot.restarts,
        startedUnixMs: BigInt(running?.spawn.startedUnixMs ?? 0),
        readyUnixMs: BigInt(running?.readyUnixMs ?? 0),
        runMode: external ? RunMode.EXTERNAL : RunMode.SPAWN,
        unsigned: slot.unsigned,
        granted: (running?.spawn.session.grants.list() ?? []).map(permissionNumber),
        withheld: (running?.withheld ?? []).map(permissionNumber),
        containment: (running?.containment ?? []).map(wireGuarantee),
        queues: [...queues],
        lastError:
          slot.lastError === undefined
            ? undefined
            : {
                reason: ReasonNumber[slot.lastError.error.reason],
                message: printableLine(slot.lastError.error.message, MAX_SHOWN_CHARS),
                timeUnixMs: BigInt(slot.lastError.timeUnixMs),
              },
        externalSocket: external ? (running?.spawn.socketPath ?? '') : '',
        externalTokenFile: waiting ? running.spawn.tokenPath : '',
        startProgressPercent: running?.progressPercent ?? 0,
        startMessage: printableLine(running?.progressMessage ?? '', MAX_SHOWN_CHARS),
        health: undefined,
        sdk: printableLine(running?.sdk ?? '', MAX_SHOWN_CHARS),
        counters:
          running === undefined
            ? undefined
            : {
                calls: running.calls.total,
                denied: running.calls.denied,
                limited: running.calls.limited,
                failed: 0n,
                violations: 0n,
                logDropped: running.log.dropped(),
                connections: running.spawn.connectionCount(),
              },
        limits: running?.limits,
        recentCrashes: slot.crashes,
        restartInMs: 0,
        usage: undefined,
        history: [],
        responsive: state === 'RUNNING',
        missedProbes: 0,
        network: undefined,
      };
    },
  };
  return slot;
}
