import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { FilesystemServiceService } from '../../gen/ts/modhost/v1/filesystem.js';
import { MetricsServiceService } from '../../gen/ts/modhost/v1/metrics.js';
import { ModuleServiceService } from '../../gen/ts/modhost/v1/module.js';
import { RpcServiceService } from '../../gen/ts/modhost/v1/rpc.js';
import { StorageServiceService } from '../../gen/ts/modhost/v1/storage.js';
import { TimerServiceService } from '../../gen/ts/modhost/v1/timer.js';
import type { StrictWire } from '../contract/strict-wire.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { EventHub } from '../events/hub.js';
import type { Served } from '../ipc/server.js';
import { createMetricsService } from '../services/metrics.js';
import { createMetricsBook, type MetricsBook } from '../services/metrics-book.js';
import { createNotYetServed } from '../services/not-yet-served.js';
import { createRpcService } from '../services/rpc.js';
import { createTimers } from '../services/timer/service.js';
import { createEndpointBook, type EndpointBook } from '../session/endpoint-book.js';
import type { Session } from '../session/session.js';
import type { Audit } from './audit.js';
import type { ServiceEntry } from './facts.js';
import { createKeptFiles } from './kept-files.js';
import { createKeptStorage } from './kept-storage.js';
import type { Lifecycle } from './lifecycle.js';
import { createModuleCalls } from './module-calls.js';
import type { HostOptions } from './options.js';
import type { ServedModule } from './parts.js';
import type { Slot } from './slot.js';
import type { UpkeepJob } from './upkeep.js';

/** The services by which the host keeps something for its modules, and whether each is served. */
export const KEPT_SERVICES: readonly ServiceEntry[] = [
  { definition: StorageServiceService, served: true },
  { definition: FilesystemServiceService, served: true },
  { definition: TimerServiceService, served: true },
  { definition: MetricsServiceService, served: true },
  { definition: ModuleServiceService, served: true },
  { definition: RpcServiceService, served: true },
];

/** What a status tells of what is kept for one module. */
export type KeptStatus = Pick<
  ModuleStatus,
  'rpcMethods' | 'commandSet' | 'apiVersion' | 'timers' | 'storageBytes' | 'storageKeys' | 'provides'
>;

/** What the host keeps for its modules beside their processes: data, timers, numbers, registrations. */
export interface Kept {
  /** What sessions have registered for people and programs outside. */
  readonly endpoints: EndpointBook;
  /** What modules have measured. */
  readonly metrics: MetricsBook;
  /** Before a spawn of the module starts. @throws HostError DATA_CORRUPT: the module must not run */
  prepare(slot: Slot): Promise<void>;
  /** The kept services of one session. */
  serve(session: Session, module: ServedModule): Served[];
  status(slot: Slot): KeptStatus;
  /** Long jobs on what is kept, done by the host's upkeep. */
  readonly upkeep: readonly UpkeepJob[];
  /** Writes out and lets go of everything; the modules have ended. */
  close(): Promise<void>;
}

/** What keeping needs of the host. */
export interface KeptParts {
  readonly options: HostOptions;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hub: EventHub;
  readonly audit: Audit;
  readonly wire: StrictWire;
  /** Modules as they stand; undefined until the host has begun. */
  lifecycle(): Lifecycle | undefined;
}

/** Makes what a host keeps for its modules; nothing is opened before the first module starts. */
export function createKept(parts: KeptParts): Kept {
  const endpoints = createEndpointBook();
  const timers = createTimers(parts.clock);
  const metrics = createMetricsBook(parts.clock);
  const moduleCalls = createModuleCalls(parts);
  const files = createKeptFiles(parts.options, parts.clock, parts.log);
  const storage = createKeptStorage(parts.options, parts.clock, parts.log);
  return {
    endpoints,
    metrics,
    upkeep: [storage.upkeep],
    async prepare(slot) {
      await files.prepare(slot);
      await storage.prepare(slot);
    },
    serve: (session, module) => [
      {
        definition: RpcServiceService,
        impl: createRpcService(session, {
          book: endpoints,
          overrides: module.slot.manifest.rpcOverrides,
          isPassedThrough: (method) => parts.options.rpc?.passthrough?.includes(method) ?? false,
          isModule: (name) => [...(parts.lifecycle()?.known() ?? [])].includes(name),
        }),
      },
      { definition: TimerServiceService, impl: timers.serve(session) },
      {
        definition: MetricsServiceService,
        impl: createMetricsService(session, { book: metrics, modules: () => namesOf(parts) }),
      },
      ...moduleCalls.serve(session, module),
      files.serve(session, module),
      storage.serve(session, module),
      ...KEPT_SERVICES.filter(({ served }) => !served).map(({ definition }) => ({
        definition,
        impl: createNotYetServed(definition),
      })),
    ],
    status: (slot) => ({
      ...moduleCalls.status(slot),
      rpcMethods: [...endpoints.endpoints(), ...endpoints.overrides()]
        .filter(({ module }) => module === slot.name)
        .map(({ method }) => method)
        .sort(),
      commandSet: endpoints.commandSets().find(({ module }) => module === slot.name)?.spec.name ?? '',
      timers: slot.running === undefined ? 0 : timers.count(slot.running.spawn.session),
      ...storage.status(slot),
    }),
    async close() {
      timers.close();
      await files.close();
      await storage.close();
    },
  };
}

/** Names of the modules that the host knows. */
function namesOf({ lifecycle }: KeptParts): string[] {
  return (lifecycle()?.slots() ?? []).map(({ name }) => name);
}
