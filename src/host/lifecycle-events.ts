import { ModuleHealthLabel, ModuleOrigin } from '../../gen/ts/modhost/event/v1/module.js';
import { ShutdownReason } from '../../gen/ts/modhost/event/v1/node.js';
import type { ResourceLimitWarning } from '../../gen/ts/modhost/event/v1/resource.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import type { EventPayload } from '../contract/event-type.js';
import { type EventHub, SOURCE_HOST } from '../events/hub.js';

/** A module's spawn, as its events name it. */
export interface SpawnName {
  moduleId: string;
  instanceId: string;
  version: string;
}

/** How a process ended that nobody asked to end. */
export interface CrashFacts {
  /** For people; no path or secret of the host, and no output of the module. */
  error: string;
  /** 0 to 255; 0 when a signal ended it or the exit cannot be seen. */
  exitCode?: number | undefined;
  /** For example `SIGSEGV`. */
  signal?: string | undefined;
}

/** Names of the states in a module's life; `UNSPECIFIED` for a module that the host did not know. */
export type ModuleStateName = Exclude<keyof typeof ModuleState, 'UNRECOGNIZED'>;
/** Names of the host's judgements of a module's health. */
export type HealthLabelName = Exclude<keyof typeof ModuleHealthLabel, 'UNRECOGNIZED' | 'UNSPECIFIED'>;
/** Names of the causes of a stop. */
export type ShutdownReasonName = Exclude<keyof typeof ShutdownReason, 'UNRECOGNIZED' | 'UNSPECIFIED'>;
/** Names of the places where modules are found. */
export type ModuleOriginName = Exclude<keyof typeof ModuleOrigin, 'UNRECOGNIZED' | 'UNSPECIFIED'>;

/** Tells what the host does and sees itself, one call for each event. */
export interface LifecycleEvents {
  /** A manifest that was not known before, or another version. */
  moduleDiscovered(moduleId: string, version: string, origin: ModuleOriginName): void;
  /** Process started, or an external module's handshake accepted. */
  moduleStarted(spawn: SpawnName): void;
  /** Ready: exactly once per spawn. */
  moduleLoaded(spawn: SpawnName): void;
  /** Ends what moduleLoaded began; after a crash it follows moduleCrashed. */
  moduleUnloaded(spawn: SpawnName): void;
  /** A reload has ended; undefined when nothing is loaded now. */
  moduleReloaded(moduleId: string, oldVersion: string, newVersion: string | undefined): void;
  /** Process ended as the host asked, or by itself with code 0 after it was Ready. */
  moduleStopped(spawn: SpawnName): void;
  moduleCrashed(spawn: SpawnName, crash: CrashFacts): void;
  /** Tells nothing when both are the same. `instanceId` is empty while no process runs. */
  moduleStateChanged(moduleId: string, instanceId: string, before: ModuleStateName, now: ModuleStateName): void;
  /** Tells nothing when both are the same. */
  moduleHealthChanged(spawn: SpawnName, before: HealthLabelName, now: HealthLabelName): void;
  /** A module uses most of what it may have of one resource. */
  resourceLimitWarning(warning: ResourceLimitWarning): void;
  /** Section names alone: values stay with the host, so no secret can slip out. */
  configLoaded(changedSections: readonly string[]): void;
  nodeStartupCompleted(durationMs: number, components: readonly string[]): void;
  nodeShutdown(reason: ShutdownReasonName, timeoutMs: number): void;
  nodeShutdownCompleted(durationMs: number): void;
}

/** Sections and components that one event names at most. */
const MAX_SECTIONS = 256;
const MAX_COMPONENTS = 64;

/** Makes the publisher of the host's own events. */
export function createLifecycleEvents(hub: EventHub): LifecycleEvents {
  const publish = (payload: EventPayload): void => void hub.publish(payload, { source: SOURCE_HOST });
  const millis = (ms: number): bigint => BigInt(Math.max(0, Math.round(ms)));
  return {
    moduleDiscovered(moduleName, version, origin) {
      publish({ $case: 'moduleDiscovered', value: { moduleName, version, origin: ModuleOrigin[origin] } });
    },
    moduleStarted({ moduleId, instanceId }) {
      publish({ $case: 'moduleStarted', value: { moduleName: moduleId, instanceId } });
    },
    moduleLoaded({ moduleId, instanceId, version }) {
      publish({ $case: 'moduleLoaded', value: { moduleName: moduleId, version, instanceId } });
    },
    moduleUnloaded({ moduleId, instanceId, version }) {
      publish({ $case: 'moduleUnloaded', value: { moduleName: moduleId, version, instanceId } });
    },
    moduleReloaded(moduleName, oldVersion, newVersion) {
      publish({ $case: 'moduleReloaded', value: { moduleName, oldVersion, newVersion: newVersion ?? '' } });
    },
    moduleStopped({ moduleId, instanceId }) {
      publish({ $case: 'moduleStopped', value: { moduleName: moduleId, instanceId } });
    },
    moduleCrashed({ moduleId, instanceId, version }, { error, exitCode, signal }) {
      publish({
        $case: 'moduleCrashed',
        value: { moduleName: moduleId, instanceId, version, error, exitCode: exitCode ?? 0, signal: signal ?? '' },
      });
    },
    moduleStateChanged(moduleName, instanceId, before, now) {
      if (before === now) return;
      publish({
        $case: 'moduleStateChanged',
        value: { moduleName, oldState: ModuleState[before], newState: ModuleState[now], instanceId },
      });
    },
    moduleHealthChanged({ moduleId, instanceId }, before, now) {
      if (before === now) return;
      const labels = { oldHealth: ModuleHealthLabel[before], newHealth: ModuleHealthLabel[now] };
      publish({ $case: 'moduleHealthChanged', value: { moduleName: moduleId, ...labels, instanceId } });
    },
    resourceLimitWarning(value) {
      publish({ $case: 'resourceLimitWarning', value });
    },
    configLoaded(changedSections) {
      publish({
        $case: 'configLoaded',
        value: { changedSections: changedSections.slice(0, MAX_SECTIONS), configJson: '' },
      });
    },
    nodeStartupCompleted(durationMs, components) {
      publish({
        $case: 'nodeStartupCompleted',
        value: { durationMs: millis(durationMs), components: components.slice(0, MAX_COMPONENTS) },
      });
    },
    nodeShutdown(reason, timeoutMs) {
      publish({ $case: 'nodeShutdown', value: { reason: ShutdownReason[reason], timeoutMs: millis(timeoutMs) } });
    },
    nodeShutdownCompleted(durationMs) {
      publish({ $case: 'nodeShutdownCompleted', value: { durationMs: millis(durationMs) } });
    },
  };
}
