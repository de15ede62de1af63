import { HostError } from '../contract/error.js';
import { nearest } from '../core/nearest.js';
import { checkCompatibility } from '../manifest/compatibility.js';
import { validateModuleConfig } from '../manifest/config.js';
import type { Manifest } from '../manifest/manifest.js';
import { discover, moduleDir, readModule } from './discover.js';
import { createModuleLife } from './module-life.js';
import { assertDependencies, hardDependencies, startOrder } from './order.js';
import type { HostParts } from './parts.js';
import { createSlot, type Slot } from './slot.js';
import { type Confinement, createModuleStart } from './start-module.js';

/** What became of one module in autoLoad. */
export interface LoadOutcome {
  name: string;
  /** Undefined when it is loaded. */
  error: HostError | undefined;
}

/** The life of modules: discover -> verify -> load -> run -> monitor, as the founding document orders it. */
export interface Lifecycle {
  slots(): Slot[];
  slot(name: string): Slot | undefined;
  /** Names of modules and of broken directories, for messages. */
  known(): string[];
  /** Directories that look like modules and are none, as the last autoLoad found them. */
  broken(): readonly LoadOutcome[];
  /** Loads every enabled module in the order of dependencies; a failure stays with its module and those that need it. */
  autoLoad(): Promise<LoadOutcome[]>;
  /** Resolves at Ready, or at once when the module is external. */
  load(name: string): Promise<Slot>;
  /** Stops a module, one whose start is under way too; stopping one that does not run is no error. */
  unload(name: string, cascade: boolean): Promise<string[]>;
  /** Stops it and starts what lies on disk now; a manifest that is broken leaves the old one running. */
  reload(name: string): Promise<Slot>;
  /** Stops everything, dependents first; starts that are under way give up. */
  stopAll(): Promise<void>;
}

/** Makes the life of a host's modules. */
export function createLifecycle(parts: HostParts, confinement: Confinement): Lifecycle {
  const slots = new Map<string, Slot>();
  let broken: LoadOutcome[] = [];
  let stopping = false;

  const settingsOf = (name: string) => parts.options.modules?.[name] ?? {};
  const isUnsignedAllowed = (name: string): boolean =>
    settingsOf(name).unsigned === true || (parts.options.allowUnsigned ?? []).includes(name);
  const isUp = (slot: Slot): boolean => slot.running !== undefined || slot.starting;

  /** Remembers a manifest; what runs or starts keeps the one that it began with. */
  const take = (manifest: Manifest, dir: string): Slot => {
    const facts = { manifest, dir, settings: settingsOf(manifest.name), unsigned: isUnsignedAllowed(manifest.name) };
    const known = slots.get(manifest.name);
    if (known !== undefined && isUp(known)) return known;
    const isNews = known?.manifest.version !== manifest.version;
    const slot = known ?? createSlot(facts, parts.lifecycleEvents);
    Object.assign(slot, facts);
    slots.set(slot.name, slot);
    if (isNews) parts.lifecycleEvents.moduleDiscovered(slot.name, manifest.version, 'FILESYSTEM');
    return slot;
  };

  const read = (name: string) => readModule(moduleDir(parts.options.modulesDir, name, settingsOf(name)), name);
  /** What lies on disk now; a module that neither runs nor lies there any more is forgotten. */
  const find = (name: string): Slot => {
    const known = slots.get(name);
    if (known !== undefined && isUp(known)) return known;
    try {
      const { manifest, dir } = read(name);
      return take(manifest, dir);
    } catch (error) {
      if (HostError.from(error).reason === 'MODULE_NOT_FOUND') slots.delete(name);
      throw error;
    }
  };

  const versionOf = (name: string): string | undefined => {
    const slot = slots.get(name);
    return slot?.state() === 'RUNNING' ? slot.running?.version : undefined;
  };

  /** May this module run? Until signatures are verified, only at the operator's explicit word. */
  const verify = (slot: Slot): Readonly<Record<string, unknown>> => {
    const { manifest } = slot;
    if (!slot.unsigned) {
      throw new HostError(
        'UNSIGNED',
        `${slot.name} has no verified signatures; allow it with --allow-unsigned ${slot.name} or unsigned = true in [modules.${slot.name}]`,
      );
    }
    for (const warning of checkCompatibility(manifest, parts.version)) parts.log.warn({ module: slot.name }, warning);
    assertDependencies(manifest, versionOf);
    const config = validateModuleConfig(manifest, slot.settings.config ?? {});
    parts.log.warn({ module: slot.name }, 'runs UNSIGNED at the operator’s word');
    return config;
  };

  const life = createModuleLife({
    clock: parts.clock,
    log: parts.log,
    lifecycleEvents: parts.lifecycleEvents,
    release: parts.release,
    startSpawn: createModuleStart(parts, confinement),
    verify,
    isStopping: () => stopping,
    offerAgain: (slot) => void inTurn(slot, () => life.start(slot)).catch(() => {}),
  });

  const dependentsOf = (name: string): Slot[] =>
    [...slots.values()].filter((slot) => isUp(slot) && hardDependencies(slot.manifest).includes(name));

  /** Has the module's turn for a command that stops it; a start that is under way gives up instead of being waited for. */
  const halting = <T>(slot: Slot, cascade: boolean, command: () => Promise<T>): Promise<T> => {
    slot.halting += 1;
    if (cascade || dependentsOf(slot.name).length === 0) life.interrupt(slot);
    return inTurn(slot, () => {
      slot.halting -= 1;
      return command();
    });
  };

  const unload = async (slot: Slot, cascade: boolean): Promise<string[]> => {
    const dependents = dependentsOf(slot.name);
    if (dependents.length > 0 && !cascade) {
      const names = dependents.map(({ name }) => name);
      throw new HostError('MODULE_IN_USE', `${slot.name} is needed by ${names.join(', ')}; unload them or cascade`, {
        details: { dependents: names.join(',') },
      });
    }
    const gone: string[] = [];
    for (const dependent of dependents) {
      if (isUp(dependent)) {
        gone.push(...(await halting(dependent, true, () => unload(dependent, true))), dependent.name);
      }
    }
    await life.stop(slot, 'unloaded by the operator');
    return gone;
  };

  const failed = (slot: Slot, error: HostError): LoadOutcome => {
    slot.lastError = { error, timeUnixMs: parts.clock.unixMs() };
    slot.move('FAILED', error.message);
    parts.log.error({ module: slot.name, reason: error.reason }, `not loaded: ${error.message}`);
    return { name: slot.name, error };
  };

  /** Names in the operator's options that exist nowhere are told, not ignored. */
  const tellStrangers = (): void => {
    const known = [...slots.keys(), ...broken.map(({ name }) => name)];
    for (const name of new Set([...Object.keys(parts.options.modules ?? {}), ...(parts.options.allowUnsigned ?? [])])) {
      if (known.includes(name)) continue;
      const near = nearest(name, known);
      parts.log.warn({ module: name }, `no such module${near === undefined ? '' : `; did you mean ${near}?`}`);
    }
  };

  return {
    slots: () => [...slots.values()],
    slot: (name) => slots.get(name),
    known: () => [...new Set([...slots.keys(), ...broken.map(({ name }) => name)])],
    broken: () => broken,
    async autoLoad() {
      const discovery = discover(parts.options.modulesDir, parts.options.modules ?? {});
      broken = discovery.broken;
      for (const { name, error } of discovery.broken) {
        parts.log.error({ module: name, reason: error.reason }, `not a module: ${error.message}`);
      }
      for (const { manifest, dir } of discovery.found) take(manifest, dir);
      tellStrangers();
      const idle = discovery.found
        .map(({ manifest }) => slots.get(manifest.name) as Slot)
        .filter((slot) => slot.settings.enabled !== false && !isUp(slot));
      const { ordered, circles } = startOrder(idle.map(({ manifest }) => manifest));
      const outcomes = [...broken, ...[...circles].map(([name, error]) => failed(slots.get(name) as Slot, error))];
      // modules that wait for nobody start together; the rest wait for what they need
      const pending = new Map<string, Promise<LoadOutcome>>();
      for (const { name, dependencies, optionalDependencies } of ordered) {
        const slot = slots.get(name) as Slot;
        const before = [...dependencies.keys(), ...optionalDependencies.keys()].flatMap(
          (need) => pending.get(need) ?? [],
        );
        const loading = Promise.all(before).then(() => inTurn(slot, () => life.start(slot)));
        pending.set(
          name,
          loading.then(
            () => ({ name, error: undefined }),
            (error: unknown) => ({ name, error: HostError.from(error) }),
          ),
        );
      }
      return [...outcomes, ...(await Promise.all(pending.values()))];
    },
    async load(name) {
      const slot = slots.get(name) ?? find(name);
      await inTurn(slot, async () => {
        find(name);
        await life.start(slot);
      });
      return slot;
    },
    async unload(name, cascade) {
      const slot = slots.get(name) ?? find(name);
      return halting(slot, cascade, () => unload(slot, cascade));
    },
    async reload(name) {
      const slot = slots.get(name) ?? find(name);
      return halting(slot, false, async () => {
        const before = slot.manifest.version;
        const { manifest, dir } = read(name);
        await unload(slot, false);
        let loaded: string | undefined;
        try {
          take(manifest, dir);
          await life.start(slot);
          loaded = manifest.version;
        } finally {
          parts.lifecycleEvents.moduleReloaded(name, before, loaded);
        }
        return slot;
      });
    },
    async stopAll() {
      stopping = true;
      for (const slot of slots.values()) life.interrupt(slot);
      await Promise.all([...slots.values()].filter(({ starting }) => starting).map(({ turn }) => turn));
      const left = new Map([...slots].filter(([, slot]) => slot.running !== undefined));
      while (left.size > 0) {
        const needed = new Set([...left.values()].flatMap(({ manifest }) => hardDependencies(manifest)));
        const free = [...left.values()].filter((slot) => !needed.has(slot.name));
        // a circle cannot start, so something is always free; should it ever not be, all stop together
        const batch = free.length > 0 ? free : [...left.values()];
        await Promise.all(batch.map((slot) => life.stop(slot, 'the host is stopping')));
        for (const slot of batch) left.delete(slot.name);
      }
      // commands that came in meanwhile, and what the node still holds for modules
      await Promise.all([...slots.values()].flatMap(({ turn, cleared }) => [turn, cleared]));
    },
  };
}

/** Commands on one module run one after the other, in the order in which they were given. */
function inTurn<T>(slot: Slot, command: () => Promise<T>): Promise<T> {
  const result = slot.turn.then(command);
  slot.turn = result.catch(() => {});
  return result;
}
