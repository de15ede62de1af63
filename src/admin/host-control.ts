import type {
  GetContainmentResponse,
  GetDeliveryStatsResponse,
  GetStatusResponse,
  LogLine,
  StreamEventsResponse,
} from '../../gen/ts/modhost/admin/v1/admin.js';
import type { AuditEntry, AuditKind } from '../../gen/ts/modhost/admin/v1/audit.js';
import type { ModuleCommands, RunCommandRequest, RunCommandResponse } from '../../gen/ts/modhost/admin/v1/command.js';
import type { ApplyConfigResponse } from '../../gen/ts/modhost/admin/v1/config.js';
import type { GetObservationResponse } from '../../gen/ts/modhost/admin/v1/observation.js';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import type { StreamTopResponse } from '../../gen/ts/modhost/admin/v1/top.js';
import type { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import type { LogLevel } from '../../gen/ts/modhost/v1/log.js';
import type { MetricsPage } from './prometheus.js';

/** Which log lines somebody wants. */
export interface LogFilter {
  /** Empty = all; `host` is the host itself. */
  modules: readonly string[];
  minLevel: LogLevel;
  tail: number;
  follow: boolean;
}

/** Which audit entries somebody wants. */
export interface AuditFilter {
  modules: readonly string[];
  kinds: readonly AuditKind[];
  tail: number;
  follow: boolean;
}

/** Which events somebody wants; empty = all. */
export interface EventFilter {
  types: readonly EventType[];
  topics: readonly string[];
}

/** What an operator may do with the devchain. */
export interface DevchainAct {
  /** Hashes of the new blocks, in order. */
  mine(count: number, coinbaseScript: Uint8Array): Promise<Uint8Array[]>;
  reorg(depth: number): Promise<{ disconnected: Uint8Array[]; connected: Uint8Array[] }>;
  /** Txids of the transactions that were made, signed and submitted. */
  spend(count: number): Promise<Uint8Array[]>;
  height(): number;
}

/** What the edges of a host may ask of it: the admin service and the front door know no more. */
export interface HostControl {
  status(signal: AbortSignal): Promise<GetStatusResponse>;
  list(): ModuleStatus[];
  /** @throws MODULE_NOT_FOUND, MODULE_ALREADY_LOADED and every reason why a module may not start */
  load(name: string, wait: boolean): Promise<ModuleStatus>;
  /** @throws MODULE_NOT_FOUND, MODULE_IN_USE */
  unload(name: string, cascade: boolean): Promise<{ module: ModuleStatus; alsoUnloaded: string[] }>;
  /** @throws MODULE_NOT_FOUND and every reason why a module may not start */
  reload(name: string): Promise<ModuleStatus>;
  logs(filter: LogFilter, signal: AbortSignal): AsyncIterable<{ lines: LogLine[]; lost: bigint }>;
  events(filter: EventFilter, signal: AbortSignal): AsyncIterable<StreamEventsResponse>;
  /** One module, or all when the name is empty. @throws MODULE_NOT_FOUND */
  deliveryStats(name: string): GetDeliveryStatsResponse;
  audit(filter: AuditFilter, signal: AbortSignal): AsyncIterable<AuditEntry[]>;
  /** @throws MODULE_NOT_FOUND */
  containment(name: string): GetContainmentResponse;
  /** Keeps whether a module is started by itself, and starts or stops it. @throws as load and unload, DISK_FULL */
  enable(name: string): Promise<ModuleStatus>;
  disable(name: string, cascade: boolean): Promise<{ module: ModuleStatus; alsoUnloaded: string[] }>;
  /** Commands that modules have registered; all when the name is empty. @throws MODULE_NOT_FOUND */
  commands(name: string): ModuleCommands[];
  /** @throws MODULE_NOT_FOUND, METHOD_NOT_FOUND, INVALID_REQUEST, MODULE_UNAVAILABLE, DEADLINE_EXCEEDED */
  runCommand(request: RunCommandRequest, signal: AbortSignal): Promise<RunCommandResponse>;
  /** What each module costs, at a pace of milliseconds; 0 = the usual one. @throws OUT_OF_RANGE */
  top(intervalMs: number, signal: AbortSignal): AsyncIterable<StreamTopResponse>;
  /** What a module really used. @param reset forgets it after the answer @throws MODULE_NOT_FOUND */
  observation(name: string, reset: boolean): GetObservationResponse;
  /** Reads the operator's file anew and hands changes over. @throws BAD_CONFIG, INVALID_REQUEST */
  applyConfig(signal: AbortSignal): Promise<ApplyConfigResponse>;
  /** The numbers of host, node and modules, for Prometheus; asks the node for its own, but not for long. */
  metrics(): Promise<MetricsPage>;
  /** Begins an orderly stop of the whole host; answers at once. */
  requestStop(timeoutMs: number): void;
  /** Undefined unless the node is the embedded devchain. */
  readonly devchain: DevchainAct | undefined;
  /** Writes that the operator gave a command. */
  noteCommand(command: string, moduleName: string): void;
}
