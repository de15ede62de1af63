import { HostError } from '../contract/error.js';
import { checkCompatibility } from '../manifest/compatibility.js';
import { validateModuleConfig } from '../manifest/config.js';
import type { Manifest } from '../manifest/manifest.js';
import { describeExit } from '../process/exit.js';
import { discover, moduleDir, readModule } from './discover.js';
import { assertDependencies, hardDependencies, startOrder } from './order.js';
import type { HostParts } from './parts.js';
import { createSlot, type Running, type Slot } from './slot.js';
import type { SpawnEnd } from './spawn.js';
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
  /** Loads every enabled module in the order of dependencies; a failure stays with its module and those that need it. */
  autoLoad(): Promise<LoadOutcome[]>;
  /** Resolves at Ready, or at once when the module is external. */
  load(name: string): Promise<Slot>;
  unload(name: string, cascade: boolean): Promise<string[]>;
  reload(name: string): Promise<Slot>;
  /** Stops everything, dependents first. */
  stopAll(): Promise<void>;
}

/** Makes the life of a host's modules. */
export function createLifecycle(parts: HostParts, confinement: Confinement): Lifecycle {
  const slots = new Map<string, Slot>();
  const brokenNames = new Set<string>();
  let stopping = false;

  const settingsOf = (name: string) => parts.options.modules?.[name] ?? {};
  const isUnsignedAllowed = (name: string): boolean =>
    settingsOf(name).unsigned === true || (parts.options.allowUnsigned ?? []).includes(name);

  const take = (manifest: Manifest, dir: string): Slot => {
    const known = slots.get(manifest.name);
    if (known !== undefined) {
      if (known.manifest.version !== manifest.version) {
        parts.lifecycleEvents.moduleDiscovered(manifest.name, manifest.version, 'FILESYSTEM');
      }
      known.manifest = manifest;
      known.dir = dir;
      known.settings = settingsOf(manifest.name);
      known.unsigned = isUnsignedAllowed(manifest.name);
      return known;
    }
    const facts = { manifest, dir, settings: settingsOf(manifest.name), unsigned: isUnsignedAllowed(manifest.name) };
    const slot = createSlot(facts, parts.lifecycleEvents);
    slots.set(slot.name, slot);
    parts.lifecycleEvents.moduleDiscovered(slot.name, manifest.version, 'FILESYSTEM');
    return slot;
  };

  const versionOf = (name: string): string | undefined => {
    const slot = slots.get(name);
    return slot?.state() === 'RUNNING' ? slot.manifest.version : undefined;
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

  const startSpawn = createModuleStart(parts, confinement);

  const spawnName = (slot: Slot, running: Running) => ({
    moduleId: slot.name,
    instanceId: running.spawn.instanceId,
    version: slot.manifest.version,
  });

  /** At Ready the module counts as loaded, and is announced exactly once. */
  const announce = (slot: Slot, running: Running): void => {
    if (running.announced) return;
    running.announced = true;
    running.readyUnixMs = parts.clock.unixMs();
    slot.move('RUNNING', 'ready');
    parts.lifecycleEvents.moduleLoaded(spawnName(slot, running));
  };

  const onEnded = (slot: Slot, running: Running, end: SpawnEnd): void => {
    if (slot.running !== running) return;
    const name = spawnName(slot, running);
    if (end.expected) {
      parts.lifecycleEvents.moduleStopped(name);
    } else {
      slot.crashes += 1;
      slot.lastError = { error: end.error ?? unexpectedEnd(slot.name), timeUnixMs: parts.clock.unixMs() };
      const failed = running.announced ? 'CRASHED' : 'FAILED';
      slot.move(failed, slot.lastError.error.message);
      parts.log.error({ module: slot.name, reason: slot.lastError.error.reason }, slot.lastError.error.message);
      parts.lifecycleEvents.moduleCrashed(name, {
        error: end.exit === undefined ? slot.lastError.error.message : `the process ${describeExit(end.exit)}`,
        exitCode: end.exit?.code ?? 0,
        signal: end.exit?.signal ?? undefined,
      });
    }
    if (running.announced) parts.lifecycleEvents.moduleUnloaded(name);
    running.log.close();
    void parts.release(slot.name);
    slot.running = undefined;
    if (end.expected) slot.move('STOPPED', 'stopped');
    else if (slot.settings.run === 'external' && !stopping) {
      void inTurn(slot, () => start(slot)).catch(() => {});
    }
  };

  const start = async (slot: Slot): Promise<void> => {
    if (stopping) throw new HostError('HOST_STOPPING', 'the host is stopping');
    if (slot.running !== undefined) {
      throw new HostError('MODULE_ALREADY_LOADED', `${slot.name} is ${slot.state().toLowerCase()} already`);
    }
    const first = slot.state() === 'DISCOVERED';
    try {
      const config = verify(slot);
      slot.move('VERIFIED', 'allowed to run UNSIGNED by the operator');
      slot.move('STARTING', slot.settings.run === 'external' ? 'waits for somebody to start it' : 'starting');
      const running = await startSpawn(slot, config);
      slot.running = running;
      if (!first) slot.restarts += 1;
      void running.spawn.ended.then((end) => onEnded(slot, running, end));
      parts.lifecycleEvents.moduleStarted(spawnName(slot, running));
      const ready = running.spawn.ready.then(() => announce(slot, running));
      if (slot.settings.run === 'external') ready.catch(() => {});
      else await ready;
    } catch (thrown) {
      const error = HostError.from(thrown);
      slot.lastError = { error, timeUnixMs: parts.clock.unixMs() };
      if (slot.running === undefined && slot.state() !== 'CRASHED') slot.move('FAILED', error.message);
      parts.log.error({ module: slot.name, reason: error.reason }, `not loaded: ${error.message}`);
      throw error;
    }
  };

  const stop = async (slot: Slot, why: string): Promise<void> => {
    const { running } = slot;
    if (running === undefined) return;
    slot.move('STOPPING', why);
    await running.spawn.stop();
  };

  const dependentsOf = (name: string): string[] =>
    [...slots.values()]
      .filter((slot) => slot.running !== undefined && hardDependencies(slot.manifest).includes(name))
      .map((slot) => slot.name);

  const find = (name: string): Slot => {
    const dir = moduleDir(parts.options.modulesDir, name, settingsOf(name));
    const known = slots.get(name);
    try {
      const found = readModule(dir, name);
      return take(found.manifest, found.dir);
    } catch (error) {
      // a directory that has gone does not make a running module unknown
      if (known !== undefined && known.running !== undefined) return known;
      throw error;
    }
  };

  const unload = async (slot: Slot, cascade: boolean): Promise<string[]> => {
    const dependents = dependentsOf(slot.name);
    if (dependents.length > 0 && !cascade) {
      throw new HostError(
        'MODULE_IN_USE',
        `${slot.name} is needed by ${dependents.join(', ')}; unload them or cascade`,
        {
          details: { dependents: dependents.join(',') },
        },
      );
    }
    const gone: string[] = [];
    for (const name of dependents) {
      const dependent = slots.get(name);
      if (dependent !== undefined) gone.push(...(await inTurn(dependent, () => unload(dependent, true))), name);
    }
    await stop(slot, 'unloaded by the operator');
    return gone;
  };

  return {
    slots: () => [...slots.values()],
    slot: (name) => slots.get(name),
    known: () => [...new Set([...slots.keys(), ...brokenNames])],
    async autoLoad() {
      const { found, broken } = discover(parts.options.modulesDir, parts.options.modules ?? {});
      const outcomes: LoadOutcome[] = broken.map(({ name, error }) => ({ name, error }));
      for (const { name, error } of broken) {
        brokenNames.add(name);
        parts.log.error({ module: name, reason: error.reason }, `not a module: ${error.message}`);
      }
      const enabled = found.filter(({ manifest }) => settingsOf(manifest.name).enabled !== false);
      for (const { manifest, dir } of found) take(manifest, dir);
      let ordered: Manifest[];
      try {
        ordered = startOrder(enabled.map(({ manifest }) => manifest));
      } catch (error) {
        return [...outcomes, ...enabled.map(({ manifest }) => ({ name: manifest.name, error: HostError.from(error) }))];
      }
      // modules that wait for nobody start together; the rest wait for what they need
      const pending = new Map<string, Promise<LoadOutcome>>();
      for (const manifest of ordered) {
        const slot = slots.get(manifest.name) as Slot;
        if (slot.running !== undefined) continue;
        const needed = [...manifest.dependencies.keys(), ...manifest.optionalDependencies.keys()];
        const before = needed.flatMap((name) => pending.get(name) ?? []);
        pending.set(
          manifest.name,
          Promise.all(before)
            .then(() => inTurn(slot, () => start(slot)))
            .then(
              () => ({ name: manifest.name, error: undefined }),
              (error: unknown) => ({ name: manifest.name, error: HostError.from(error) }),
            ),
        );
      }
      return [...outcomes, ...(await Promise.all(pending.values()))];
    },
    async load(name) {
      const slot = find(name);
      await inTurn(slot, () => start(slot));
      return slot;
    },
    async unload(name, cascade) {
      const slot = slots.get(name) ?? find(name);
      return inTurn(slot, () => unload(slot, cascade));
    },
    async reload(name) {
      const slot = slots.get(name) ?? find(name);
      const before = slot.manifest.version;
      let loaded: string | undefined;
      try {
        await inTurn(slot, async () => {
          await unload(slot, false);
          find(name);
          await start(slot);
        });
        loaded = slot.manifest.version;
      } finally {
        parts.lifecycleEvents.moduleReloaded(name, before, loaded);
      }
      return slot;
    },
    async stopAll() {
      stopping = true;
      const left = new Map([...slots].filter(([, slot]) => slot.running !== undefined));
      while (left.size > 0) {
        const needed = new Set([...left.values()].flatMap(({ manifest }) => hardDependencies(manifest)));
        const free = [...left.values()].filter((slot) => !needed.has(slot.name));
        // a circle cannot start, so something is always free; should it ever not be, all stop together
        const batch = free.length > 0 ? free : [...left.values()];
        await Promise.all(batch.map((slot) => stop(slot, 'the host is stopping')));
        for (const slot of batch) left.delete(slot.name);
      }
    },
  };
}

/** Commands on one module run one after the other, in the order in which they were given. */
function inTurn<T>(slot: Slot, command: () => Promise<T>): Promise<T> {
  const result = slot.turn.then(command);
  slot.turn = result.catch(() => {});
  return result;
}

function unexpectedEnd(name: string): HostError {
  return new HostError('MODULE_CRASHED', `${name} ended unexpectedly`);
}
