import { type ModuleStatus, ProbeKind, RunMode } from '../../gen/ts/modhost/admin/v1/status.js';
import type { QueueStats } from '../../gen/ts/modhost/event/v1/event_service.js';
import { ErrorReason as ReasonNumber } from '../../gen/ts/modhost/v1/error.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import type { HostError } from '../contract/error.js';
import { permissionNumber } from '../contract/permission.js';
import type { Clock } from '../core/clock.js';
import { printableLine } from '../core/printable.js';
import { wireGuarantee } from './facts.js';
import type { KeptStatus } from './kept.js';
import { wireUsage } from './module-watch.js';
import { isAvailable, passedCalls, type Slot } from './slot.js';

/** Longest description that a status shows. */
const MAX_SHOWN_CHARS = 512;

/** What a status tells beside what the slot itself knows. */
export interface StatusFacts {
  readonly queues: readonly QueueStats[];
  readonly clock: Clock;
  readonly kept: KeptStatus;
  /** True when it is started by itself. */
  readonly enabled: boolean;
}

/** One module as the operator sees it. */
export function statusOf(slot: Slot, { queues, clock, kept, enabled }: StatusFacts): ModuleStatus {
  const { running, manifest, settings, waiting } = slot;
  const external = settings.run === 'external';
  const untouched = external && running !== undefined && running.spawn.session.state() === 'waiting';
  return {
    name: slot.name,
    version: running?.version ?? manifest.version,
    description: printableLine(manifest.description, MAX_SHOWN_CHARS),
    state: ModuleState[slot.state()],
    reason: printableLine(slot.why(), MAX_SHOWN_CHARS),
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
    externalTokenFile: untouched ? running.spawn.tokenPath : '',
    startProgressPercent: running?.progressPercent ?? 0,
    startMessage: printableLine(running?.progressMessage ?? '', MAX_SHOWN_CHARS),
    health: running?.health.report()?.report,
    sdk: printableLine(running?.sdk ?? '', MAX_SHOWN_CHARS),
    counters:
      running === undefined
        ? undefined
        : {
            calls: passedCalls(running),
            denied: running.calls.denied,
            limited: running.calls.limited,
            failed: running.calls.refused + running.calls.failed,
            violations: BigInt(running.spawn.session.violations()),
            logDropped: running.log.dropped(),
            connections: running.spawn.connectionCount(),
          },
    limits: running?.limits,
    recentCrashes: slot.book.recentCrashes(),
    restartInMs: waiting?.kind === 'time' ? Math.max(0, Math.ceil(waiting.dueMs - clock.monotonicMs())) : 0,
    usage: wireUsage(running?.watch?.usage()),
    history: slot.history().map(({ timeUnixMs, from, to, reason, instanceId }) => ({
      timeUnixMs: BigInt(timeUnixMs),
      from: ModuleState[from],
      to: ModuleState[to],
      reason: printableLine(reason, MAX_SHOWN_CHARS),
      instanceId,
    })),
    responsive: isAvailable(slot) && running?.health.missedProbes() === 0,
    missedProbes: running?.health.missedProbes() ?? 0,
    network: running?.network?.use(),
    probe: probeKind(slot),
    recentErrors: slot.errors.counts().map(({ word, count }) => ({ reason: ReasonNumber[word], count })),
    enabled,
    ...kept,
  };
}

/** A directory that was meant to be a module and is none, as the operator sees it: told, not left out. */
export function brokenStatus(name: string, error: HostError | undefined, enabled: boolean): ModuleStatus {
  const message = printableLine(error?.message ?? 'its manifest cannot be read', MAX_SHOWN_CHARS);
  return {
    ...NOTHING_RUNS,
    name: printableLine(name, MAX_SHOWN_CHARS),
    state: ModuleState.FAILED,
    reason: message,
    lastError: error === undefined ? undefined : { reason: ReasonNumber[error.reason], message, timeUnixMs: 0n },
    enabled,
  };
}

/** The status of what has never run and cannot. */
const NOTHING_RUNS: Omit<ModuleStatus, 'name' | 'state' | 'reason' | 'lastError' | 'enabled'> = {
  version: '',
  description: '',
  pid: 0,
  instanceId: '',
  restarts: 0,
  startedUnixMs: 0n,
  readyUnixMs: 0n,
  runMode: RunMode.SPAWN,
  unsigned: false,
  granted: [],
  withheld: [],
  containment: [],
  queues: [],
  externalSocket: '',
  externalTokenFile: '',
  startProgressPercent: 0,
  startMessage: '',
  health: undefined,
  sdk: '',
  counters: undefined,
  limits: undefined,
  recentCrashes: 0,
  restartInMs: 0,
  usage: undefined,
  history: [],
  responsive: false,
  missedProbes: 0,
  network: undefined,
  probe: ProbeKind.UNSPECIFIED,
  recentErrors: [],
  rpcMethods: [],
  commandSet: '',
  apiVersion: 0,
  timers: 0,
  storageBytes: 0n,
  storageKeys: 0n,
  provides: [],
};

function probeKind({ running, manifest }: Slot): ProbeKind {
  if (running?.monitor === undefined) return ProbeKind.UNSPECIFIED;
  const asked = manifest.health.mode === 'invocation' && running.spawn.session.invocations.serving();
  return asked ? ProbeKind.INVOCATION : ProbeKind.PING;
}
