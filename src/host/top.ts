import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { HostLoad, ModuleLoad, NodeLoad, StreamTopResponse } from '../../gen/ts/modhost/admin/v1/top.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { HostError } from '../contract/error.js';
import type { Clock } from '../core/clock.js';
import { delay } from '../core/delay.js';
import type { EventHub } from '../events/hub.js';
import type { NodeBudget, NodeSpending } from '../node/budget.js';
import type { Kept } from './kept.js';
import type { Lifecycle } from './lifecycle.js';
import { countOpenFiles, measureMachine, readTicks } from './machine-load.js';
import { passedCalls, type Running, type Slot } from './slot.js';

/** Bounds of the time between two answers, milliseconds: fewer would cost more than they tell. */
export const MIN_TOP_INTERVAL_MS = 500;
export const MAX_TOP_INTERVAL_MS = 60_000;
const DEFAULT_TOP_INTERVAL_MS = 2_000;
/** How often the event loop is asked whether it is late, milliseconds. */
const LOOP_RESOLUTION_MS = 20;
const NS_PER_MS = 1_000_000;
const MIB = 1_048_576n;

/** What is measured. */
export interface TopParts {
  readonly clock: Clock;
  readonly hub: Pick<EventHub, 'getDeliveryStats' | 'publishedTotal'>;
  readonly budget: NodeBudget;
  /** Most calls in flight to the node; 0 = no bound. */
  readonly maxNodeCalls: number;
  readonly lifecycle: Pick<Lifecycle, 'slots'>;
  readonly kept: Pick<Kept, 'status'>;
  readonly dataDir: string;
  /** Aborted when the host ends: streams end well then. */
  readonly ended: AbortSignal;
}

/** Counters of one moment; all of them only grow. */
interface Counted {
  readonly atMs: number;
  readonly cpuMs: number;
  readonly published: bigint;
  /** What the node was asked, by module: it outlives sessions. */
  readonly spent: ReadonlyMap<string, NodeSpending>;
  readonly modules: ReadonlyMap<string, ModuleCounted>;
}

/** Counters of one session. */
interface ModuleCounted {
  readonly instanceId: string;
  readonly calls: number;
  readonly limited: number;
  readonly delivered: number;
  readonly dropped: number;
}

/**
 * What each module costs node, host and machine, measured at a pace for one client; nothing is measured while nobody asks.
 *
 * @param intervalMs time between two answers; 0 = the usual one
 * @param signal     the client has gone
 * @throws           HostError OUT_OF_RANGE
 */
export async function* streamTop(
  parts: TopParts,
  intervalMs: number,
  signal: AbortSignal,
): AsyncGenerator<StreamTopResponse> {
  const pace = intervalMs === 0 ? DEFAULT_TOP_INTERVAL_MS : intervalMs;
  if (pace < MIN_TOP_INTERVAL_MS || pace > MAX_TOP_INTERVAL_MS) {
    throw new HostError('OUT_OF_RANGE', `the interval must be ${MIN_TOP_INTERVAL_MS} to ${MAX_TOP_INTERVAL_MS} ms`);
  }
  const over = AbortSignal.any([signal, parts.ended]);
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  loop.enable();
  try {
    let before = count(parts);
    let ticksBefore = await readTicks();
    for (;;) {
      await delay(pace, over);
      if (over.aborted) return;
      const loopDelayMs = loop.count === 0 ? 0 : Math.max(0, loop.max / NS_PER_MS - LOOP_RESOLUTION_MS);
      loop.reset();
      const ticks = await readTicks();
      const after = count(parts);
      const seconds = Math.max(1, after.atMs - before.atMs) / 1000;
      const modules = moduleLoads(parts, before, after, seconds);
      yield {
        timeUnixMs: BigInt(Math.round(parts.clock.unixMs())),
        intervalMs: Math.round(after.atMs - before.atMs),
        host: await hostLoad(before, after, seconds, modules, loopDelayMs),
        node: nodeLoad(parts, before, after, seconds),
        machine: await measureMachine(ticksBefore, ticks, parts.dataDir),
        modules,
      };
      before = after;
      ticksBefore = ticks;
    }
  } finally {
    loop.disable();
  }
}

function count({ clock, hub, budget, lifecycle }: TopParts): Counted {
  const { user, system } = process.cpuUsage();
  const deliveries = new Map(hub.getDeliveryStats().map((delivery) => [delivery.moduleId, delivery.queues] as const));
  const modules = new Map<string, ModuleCounted>();
  for (const slot of present(lifecycle.slots())) {
    const queues = deliveries.get(slot.name) ?? [];
    const { running } = slot;
    modules.set(slot.name, {
      instanceId: running.spawn.instanceId,
      calls: Number(passedCalls(running)),
      limited: Number(running.calls.limited),
      delivered: queues.reduce((sum, { delivered }) => sum + delivered, 0),
      dropped: queues.reduce((sum, { dropped }) => sum + dropped, 0),
    });
  }
  return {
    atMs: clock.monotonicMs(),
    cpuMs: (user + system) / 1000,
    published: hub.publishedTotal(),
    spent: new Map([...budget.spent()].map(([name, spending]) => [name, { ...spending }])),
    modules,
  };
}

async function hostLoad(
  before: Counted,
  after: Counted,
  seconds: number,
  modules: readonly ModuleLoad[],
  loopDelayMs: number,
): Promise<HostLoad> {
  return {
    memoryBytes: BigInt(process.memoryUsage.rss()),
    cpuPercent: (after.cpuMs - before.cpuMs) / (10 * seconds),
    loopDelayMs,
    openFiles: await countOpenFiles(),
    callsPerSecond: modules.reduce((sum, { callsPerSecond }) => sum + callsPerSecond, 0),
    eventsPerSecond: Number(after.published - before.published) / seconds,
  };
}

/** What the node was asked between two moments: by one module, or by all. */
function spentBetween(before: Counted, after: Counted, name?: string): NodeSpending {
  let [calls, busyMs] = [0, 0];
  for (const [module, now] of after.spent) {
    if (name !== undefined && module !== name) continue;
    const then = before.spent.get(module);
    calls += now.calls - (then?.calls ?? 0);
    busyMs += now.busyMs - (then?.busyMs ?? 0);
  }
  return { calls, busyMs };
}

function nodeLoad({ budget, maxNodeCalls }: TopParts, before: Counted, after: Counted, seconds: number): NodeLoad {
  const { calls, busyMs } = spentBetween(before, after);
  return {
    callsInFlight: [...budget.usage().values()].reduce((sum, { running }) => sum + running, 0),
    maxCallsInFlight: maxNodeCalls,
    callsPerSecond: calls / seconds,
    meanMs: calls === 0 ? 0 : busyMs / calls,
  };
}

function moduleLoads(parts: TopParts, before: Counted, after: Counted, seconds: number): ModuleLoad[] {
  const all = spentBetween(before, after);
  return present(parts.lifecycle.slots())
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((slot) => {
      const { running } = slot;
      const { limits } = running;
      const now = after.modules.get(slot.name);
      const then = before.modules.get(slot.name);
      /** What has been added; the counters of a session begin at 0 with each spawn. */
      const grown = (pick: (counted: ModuleCounted) => number): number => {
        const same = then?.instanceId === now?.instanceId;
        return now === undefined ? 0 : pick(now) - (then !== undefined && same ? pick(then) : 0);
      };
      const asked = spentBetween(before, after, slot.name);
      const usage = running.watch?.usage();
      const storageBytes = parts.kept.status(slot).storageBytes;
      return {
        module: slot.name,
        state: ModuleState[slot.state()],
        cpuPercent: usage?.cpuPercent ?? 0,
        maxCpuPercent: limits.cpuPercent,
        memoryBytes: BigInt(Math.round(usage?.memoryBytes ?? 0)),
        maxMemoryBytes: BigInt(limits.memoryMb) * MIB,
        pids: usage?.pids ?? 0,
        maxPids: limits.pids,
        dataBytes: BigInt(Math.round(usage?.dataBytes ?? 0)),
        maxDataBytes: BigInt(limits.dataMb) * MIB,
        storageBytes,
        maxStorageBytes: BigInt(limits.storageMb) * MIB,
        callsPerSecond: grown(({ calls }) => calls) / seconds,
        maxCallsPerSecond: limits.callsPerSecond,
        limitedPerSecond: grown(({ limited }) => limited) / seconds,
        nodeCallsPerSecond: asked.calls / seconds,
        nodeSharePercent: all.busyMs <= 0 ? 0 : (100 * asked.busyMs) / all.busyMs,
        eventsPerSecond: grown(({ delivered }) => delivered) / seconds,
        droppedPerSecond: grown(({ dropped }) => dropped) / seconds,
        openInvocations: running.spawn.session.invocations.open(),
      };
    });
}

/** Modules with a session. */
function present(slots: readonly Slot[]): (Slot & { running: Running })[] {
  return slots.filter((slot): slot is Slot & { running: Running } => slot.running !== undefined);
}
