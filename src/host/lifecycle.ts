import { StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../contract/error.js';
import { checkCompatibility } from '../manifest/compatibility.js';
import type { ModuleConfig } from '../manifest/config.js';
import { DEFAULT_RESTART_TIMES } from '../process/restart.js';
import { autoLoad } from './auto-load.js';
import { createDependents, type Dependents } from './dependents.js';
import { composeModuleConfig, plainSecrets } from './module-config.js';
import { createModuleLife } from './module-life.js';
import { assertDependencies, hardDependencies } from './order.js';
import type { HostParts } from './parts.js';
import { createShelf, type LoadOutcome, type Shelf } from './shelf.js';
import { inTurn, inWords, isAvailable, isUp, type Slot } from './slot.js';
import { type Confinement, createModuleStart } from './start-module.js';
import { createSupervision, type Supervision } from './supervision.js';

/** The life of modules: discover -> verify -> load -> run -> monitor, as the founding document orders it. */
export interface Lifecycle extends Pick<Shelf, 'slots' | 'slot' | 'known' | 'broken'> {
  /** Loads every enabled module in the order of dependencies; a failure stays with its module and those that need it. */
  autoLoad(): Promise<LoadOutcome[]>;
  /**
   * Starts a module, one that waits or is held too: its crashes are forgotten. Resolves at Ready, or at once when the module
   * is external; fails with what the first attempt failed with, while the supervision goes on with the next.
   */
  load(name: string): Promise<Slot>;
  /**
   * Stops a module, one whose start is under way or to come too; stopping one that does not run is no error. Those that
   * `cascade` takes along start again with it.
   */
  unload(name: string, cascade: boolean): Promise<string[]>;
  /** Stops it and starts what lies on disk now; a manifest that is broken leaves the old one running. */
  reload(name: string): Promise<Slot>;
  /** Stops everything, dependents first; starts that are under way give up, and none is to come. */
  stopAll(): Promise<void>;
}

/** Makes the life of a host's modules. */
export function createLifecycle(parts: HostParts, confinement: Confinement): Lifecycle {
  let stopping = false;
  const isStopping = () => stopping;
  const shelf = createShelf(parts, {
    events: parts.lifecycleEvents,
    clock: parts.clock,
    restartTimes: { ...DEFAULT_RESTART_TIMES, ...parts.options.restartTimes },
    random: Math.random,
    onMoved: (slot, before) => dependents.moved(slot, before),
  });

  const versionOf = (name: string): string | undefined => {
    const slot = shelf.slot(name);
    return isAvailable(slot) ? slot?.running?.version : undefined;
  };

  /** May this module run? Until signatures are verified, only at the operator's explicit word. */
  const verify = (slot: Slot): ModuleConfig => {
    shelf.refresh(slot);
    const { manifest, settings } = slot;
    if (!slot.unsigned) {
      throw new HostError(
        'UNSIGNED',
        `${slot.name} has no verified signatures; allow it with --allow-unsigned ${slot.name} or unsigned = true in [modules.${slot.name}]`,
      );
    }
    for (const warning of checkCompatibility(manifest, parts.version)) parts.log.warn({ module: slot.name }, warning);
    assertDependencies(manifest, versionOf);
    const config = composeModuleConfig({ manifest, settings, env: parts.options.env ?? process.env });
    const plain = plainSecrets({ manifest, settings });
    if (plain.length > 0) {
      const text = 'secrets stand in the configuration itself; files that nobody else can read keep them better';
      parts.log.info({ module: slot.name, keys: plain }, text);
    }
    parts.log.warn({ module: slot.name }, 'runs UNSIGNED at the operator’s word');
    return config;
  };

  const supervision: Supervision = createSupervision({
    clock: parts.clock,
    log: parts.log,
    slots: shelf.slots,
    slot: shelf.slot,
    isStopping,
    start: (slot) => life.start(slot, false),
  });
  const dependents: Dependents = createDependents({
    slots: shelf.slots,
    slot: shelf.slot,
    isStopping,
    available: supervision.available,
    park: (slot, need) => void park(slot, need).catch(() => {}),
  });
  const life = createModuleLife({
    clock: parts.clock,
    log: parts.log,
    lifecycleEvents: parts.lifecycleEvents,
    release: parts.release,
    kept: parts.kept,
    startSpawn: createModuleStart(parts, confinement),
    verify,
    isStopping,
    supervision,
    judge: dependents.judge,
  });

  /** Has the module's turn for a command that stops it; a start that is under way gives up instead of being waited for. */
  const halting = <T>(slot: Slot, cascade: boolean, command: () => Promise<T>): Promise<T> => {
    slot.halting += 1;
    if (cascade || dependents.of(slot.name).length === 0) life.interrupt(slot);
    return inTurn(slot, () => {
      slot.halting -= 1;
      return command();
    });
  };

  const park = (slot: Slot, need: string): Promise<void> =>
    halting(slot, true, async () => {
      if (stopping || !slot.wanted) return;
      if (isUp(slot)) {
        const needed = shelf.slot(need);
        if (isAvailable(needed)) return;
        await life.stop(slot, `needs ${need}, which is ${inWords(needed)}`, StopReason.DEPENDENCY);
      }
      if (slot.state() === 'STOPPED' && slot.waiting === undefined) supervision.waitFor(slot, need);
    });

  const unload = async (slot: Slot, cascade: boolean, why: string, reason: StopReason): Promise<string[]> => {
    const takenAlong = dependents.of(slot.name);
    if (takenAlong.length > 0 && !cascade) {
      const names = takenAlong.map(({ name }) => name);
      throw new HostError('MODULE_IN_USE', `${slot.name} is needed by ${names.join(', ')}; unload them or cascade`, {
        details: { dependents: names.join(',') },
      });
    }
    const gone: string[] = [];
    for (const dependent of takenAlong) {
      if (!isUp(dependent)) continue;
      const because = `needs ${slot.name}, which is unloaded`;
      const further = await halting(dependent, true, () => unload(dependent, true, because, StopReason.DEPENDENCY));
      gone.push(...further, dependent.name);
    }
    await life.stop(slot, why, reason);
    for (const dependent of takenAlong) await park(dependent, slot.name);
    return gone;
  };

  return {
    slots: shelf.slots,
    slot: shelf.slot,
    known: shelf.known,
    broken: shelf.broken,
    autoLoad: () => autoLoad(parts, shelf, (slot) => life.start(slot, false)),
    async load(name) {
      const slot = shelf.slot(name) ?? shelf.find(name);
      await inTurn(slot, async () => {
        shelf.find(name);
        slot.wanted = true;
        await life.start(slot, true);
      });
      return slot;
    },
    async unload(name, cascade) {
      const slot = shelf.slot(name) ?? shelf.find(name);
      return halting(slot, cascade, async () => {
        const gone = await unload(slot, cascade, 'unloaded by the operator', StopReason.UNLOAD);
        slot.wanted = false;
        return gone;
      });
    },
    async reload(name) {
      const slot = shelf.slot(name) ?? shelf.find(name);
      return halting(slot, false, async () => {
        const before = slot.manifest.version;
        const { manifest, dir } = shelf.read(name);
        await unload(slot, false, 'reloaded by the operator', StopReason.RELOAD);
        let loaded: string | undefined;
        try {
          shelf.take(manifest, dir);
          slot.wanted = true;
          await life.start(slot, true);
          loaded = manifest.version;
        } finally {
          parts.lifecycleEvents.moduleReloaded(name, before, loaded);
        }
        return slot;
      });
    },
    async stopAll() {
      stopping = true;
      const slots = shelf.slots();
      for (const slot of slots) {
        supervision.release(slot);
        life.interrupt(slot);
      }
      await Promise.all(slots.filter(({ starting }) => starting).map(({ turn }) => turn));
      const left = new Map(slots.filter(({ running }) => running !== undefined).map((slot) => [slot.name, slot]));
      while (left.size > 0) {
        const needed = new Set([...left.values()].flatMap(({ manifest }) => hardDependencies(manifest)));
        const free = [...left.values()].filter((slot) => !needed.has(slot.name));
        // a circle cannot start, so something is always free; should it ever not be, all stop together
        const batch = free.length > 0 ? free : [...left.values()];
        await Promise.all(batch.map((slot) => life.stop(slot, 'the host is stopping', StopReason.HOST_STOPPING)));
        for (const slot of batch) left.delete(slot.name);
      }
      // commands that came in meanwhile, and what the node still holds for modules
      await Promise.all(slots.flatMap(({ turn, cleared }) => [turn, cleared]));
      for (const slot of slots) if (slot.state() === 'BACKOFF') slot.move('STOPPED', 'the host is stopping');
    },
  };
}
