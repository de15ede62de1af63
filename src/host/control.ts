import type { GetStatusResponse, LogLine } from '../../gen/ts/modhost/admin/v1/admin.js';
import type { AuditEntry } from '../../gen/ts/modhost/admin/v1/audit.js';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { LogLevel } from '../../gen/ts/modhost/v1/log.js';
import type { AuditFilter, HostControl, LogFilter } from '../admin/host-control.js';
import { HostError } from '../contract/error.js';
import type { EventCatalogue } from '../contract/event-type.js';
import { DEFAULT_SANDBOX_MINIMUM, sandboxMinimumText } from '../contract/guarantee.js';
import { PROTOCOL_MAX, PROTOCOL_MIN } from '../contract/protocol.js';
import { nearest } from '../core/nearest.js';
import { MAX_BATCH_BYTES } from '../events/frame.js';
import type { EventHub } from '../events/hub.js';
import type { NodeBudget } from '../node/budget.js';
import { deliveryResponse } from '../services/event.js';
import type { Audit } from './audit.js';
import { createCommands } from './commands.js';
import type { ConfigChangeControl } from './config-change.js';
import { wireGuarantee } from './facts.js';
import type { FrontDoor } from './front-door.js';
import { createHostMetrics } from './host-metrics.js';
import type { Lifecycle } from './lifecycle.js';
import type { NodeWatch } from './node-status.js';
import { observationOf } from './observation-report.js';
import type { HostParts } from './parts.js';
import type { Slot } from './slot.js';
import { brokenStatus, statusOf as moduleStatus } from './slot-status.js';
import type { Confinement } from './start-module.js';
import { createSwitchControl } from './switch-control.js';
import { isEnabled } from './switches.js';
import { streamTop } from './top.js';
import type { Upkeep } from './upkeep.js';
import { warningsOf } from './warnings.js';

/** What the control of a host looks at. */
export interface ControlParts extends HostParts {
  audit: Audit;
  hub: EventHub;
  lifecycle: Lifecycle;
  configChange: ConfigChangeControl;
  catalogue: EventCatalogue;
  confinement: Confinement;
  nodeWatch: NodeWatch;
  upkeep: Upkeep;
  budget: NodeBudget;
  frontDoor: Pick<FrontDoor, 'status'>;
  /** Most calls in flight to the node; 0 = no bound. */
  maxNodeCalls: number;
  /** Aborted when the host ends. */
  ended: AbortSignal;
  startedUnixMs: number;
  isStopping(): boolean;
  requestStop(timeoutMs: number): void;
}

/** Lines or entries that one tail gives at most. */
const MAX_TAIL = 10_000;

/** Makes what edges may ask of a host. */
export function createHostControl(parts: ControlParts): HostControl {
  const { options, lifecycle, hub } = parts;
  const switching = createSwitchControl(parts);
  const commands = createCommands({ endpoints: parts.kept.endpoints, lifecycle });

  const statusOf = (slot: Slot): ModuleStatus => {
    const delivery = hub.getDeliveryStats().find(({ moduleId }) => moduleId === slot.name);
    return moduleStatus(slot, {
      queues: delivery === undefined ? [] : deliveryResponse(delivery).queues,
      clock: parts.clock,
      kept: parts.kept.status(slot),
      enabled: isEnabled(parts.switches, slot.name, slot.settings),
    });
  };
  /** Directories that were meant to be modules, as the last scan found them. */
  const broken = (): ModuleStatus[] =>
    lifecycle
      .broken()
      .filter(({ name }) => lifecycle.slot(name) === undefined)
      .map(({ name, error }) => {
        const enabled = isEnabled(parts.switches, name, parts.settings.of(name));
        return brokenStatus(name, error, enabled);
      });
  const named = (name: string): ModuleStatus => {
    const slot = lifecycle.slot(name);
    const status = slot === undefined ? broken().find((one) => one.name === name) : statusOf(slot);
    if (status === undefined) throw new HostError('MODULE_NOT_FOUND', `no module ${name}`);
    return status;
  };
  const list = (): ModuleStatus[] =>
    [...lifecycle.slots().map(statusOf), ...broken()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const assertKnown = (name: string): void => {
    if (lifecycle.slot(name) !== undefined) return;
    const near = nearest(name, lifecycle.known());
    throw new HostError('MODULE_NOT_FOUND', `no module ${name}${near === undefined ? '' : `; did you mean ${near}?`}`, {
      details: near === undefined ? {} : { nearest: near },
    });
  };
  /** A module that cannot be found gets the nearest name along. */
  const withNearest = async <T>(name: string, work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (error instanceof HostError && error.reason === 'MODULE_NOT_FOUND') assertKnown(name);
      throw error;
    }
  };

  return {
    async status(signal): Promise<GetStatusResponse> {
      const now = parts.clock.unixMs();
      return {
        host: {
          version: parts.version,
          pid: process.pid,
          startedUnixMs: BigInt(parts.startedUnixMs),
          uptimeMs: BigInt(Math.max(0, now - parts.startedUnixMs)),
          protocolMin: PROTOCOL_MIN,
          protocolMax: PROTOCOL_MAX,
          modulesDir: options.modulesDir,
          dataDir: options.dataDir,
          socketDir: options.socketDir,
          configFile: options.configFile ?? '',
          containment: parts.confinement.engine.containment().map(wireGuarantee),
          warnings: warningsOf(parts),
          runtimeVersion: process.version,
          stopping: parts.isStopping(),
          ...parts.frontDoor.status(),
        },
        node: await parts.nodeWatch.status(signal),
        modules: list(),
      };
    },
    list,
    async load(name, wait) {
      const loading = withNearest(name, lifecycle.load(name));
      if (wait) return statusOf(await loading);
      loading.catch(() => {});
      const slot = lifecycle.slot(name);
      return slot === undefined ? statusOf(await loading) : statusOf(slot);
    },
    async unload(name, cascade) {
      const alsoUnloaded = await withNearest(name, lifecycle.unload(name, cascade));
      return { module: statusOf(lifecycle.slot(name) as Slot), alsoUnloaded };
    },
    async reload(name) {
      return statusOf(await withNearest(name, lifecycle.reload(name)));
    },
    async *logs(filter, signal) {
      const wanted = logFilter(filter);
      const feed = parts.logBook.lines;
      const tail = Math.min(filter.tail, MAX_TAIL);
      if (!filter.follow) {
        for (const lines of inMessages(feed.tail(tail, wanted), lineSize)) yield { lines, lost: 0n };
        return;
      }
      for await (const { items, lost } of feed.follow(wanted, signal, tail)) {
        for (const lines of inMessages(items, lineSize)) yield { lines, lost: BigInt(lost) };
      }
    },
    async *events({ types, topics }, signal) {
      const all = types.length === 0 && topics.length === 0;
      const wanted = new Set([...types, ...(topics.length > 0 ? [EventType.TOPIC] : [])]);
      let dropped = 0;
      for await (const { event, missed } of hub.listen(all ? { signal } : { types: wanted, signal })) {
        dropped += missed;
        const { payload } = event;
        const otherTopic = payload?.$case === 'topic' && topics.length > 0 && !topics.includes(payload.value.topic);
        if (!otherTopic) yield { events: [event], gaps: [], droppedTotal: BigInt(dropped) };
      }
    },
    deliveryStats(name) {
      if (name !== '') assertKnown(name);
      const modules = hub
        .getDeliveryStats()
        .filter(({ moduleId }) => name === '' || moduleId === name)
        .map((delivery) => ({ module: delivery.moduleId, ...deliveryResponse(delivery) }));
      return { modules, publishedTotal: hub.publishedTotal() };
    },
    async *audit(filter, signal) {
      const wanted = auditFilter(filter);
      const feed = parts.audit.entries;
      parts.audit.flush();
      const tail = Math.min(filter.tail, MAX_TAIL);
      if (!filter.follow) {
        yield* inMessages(feed.tail(tail, wanted), entrySize);
        return;
      }
      for await (const { items } of feed.follow(wanted, signal, tail)) yield* inMessages(items, entrySize);
    },
    containment(name) {
      if (name !== '') assertKnown(name);
      return {
        machine: parts.confinement.engine.containment().map(wireGuarantee),
        minimum: sandboxMinimumText(options.sandboxMinimum ?? DEFAULT_SANDBOX_MINIMUM),
        modules: list()
          .filter((module) => name === '' || module.name === name)
          .map((module) => ({ module: module.name, guarantees: module.containment })),
      };
    },
    async enable(name) {
      await withNearest(name, switching.enable(name));
      return named(name);
    },
    async disable(name, cascade) {
      const alsoUnloaded = await withNearest(name, switching.disable(name, cascade));
      return { module: named(name), alsoUnloaded };
    },
    commands: (name) => commands.list(name),
    runCommand: (request, signal) => commands.run(request, signal),
    top: (intervalMs, signal) => streamTop({ ...parts, dataDir: options.dataDir }, intervalMs, signal),
    observation(name, reset) {
      assertKnown(name);
      return observationOf(lifecycle.slot(name) as Slot, parts, reset);
    },
    applyConfig: (signal) => parts.configChange.apply(signal),
    metrics: createHostMetrics(parts, list),
    requestStop: (timeoutMs) => parts.requestStop(timeoutMs),
    devchain: options.devchain,
    noteCommand: (command, moduleName) =>
      parts.audit.record({ kind: 'OPERATOR', moduleId: moduleName, message: command }),
  };
}

function logFilter({ modules, minLevel }: LogFilter): (line: { module: string; level: LogLevel }) => boolean {
  const names = new Set(modules);
  const least = minLevel === LogLevel.UNSPECIFIED ? LogLevel.TRACE : minLevel;
  return ({ module, level }) => level >= least && (names.size === 0 || names.has(module));
}

function auditFilter({ modules, kinds }: AuditFilter): (entry: { module: string; kind: number }) => boolean {
  const names = new Set(modules);
  const wanted = new Set<number>(kinds);
  return ({ module, kind }) => (names.size === 0 || names.has(module)) && (wanted.size === 0 || wanted.has(kind));
}

/** Items in as many messages as their size asks for: each stays far below what stock clients receive. */
function* inMessages<T>(items: readonly T[], sizeOf: (item: T) => number): Generator<T[]> {
  let message: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (message.length > 0 && bytes + size > MAX_BATCH_BYTES) {
      yield message;
      message = [];
      bytes = 0;
    }
    message.push(item);
    bytes += size;
  }
  if (message.length > 0) yield message;
}

function lineSize({ message, target, fields }: LogLine): number {
  return fields.reduce((sum, { key, value }) => sum + textSize(key) + textSize(value), textSize(message + target));
}

function entrySize({ message, method, module, permissions }: AuditEntry): number {
  return textSize(message + method + module) + permissions.length;
}

/** Bytes of a text on the wire, and of what stands around it. */
function textSize(text: string): number {
  return Buffer.byteLength(text) + 64;
}
