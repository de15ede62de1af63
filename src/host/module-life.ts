import { HostError } from '../contract/error.js';
import { describeExit } from '../process/exit.js';
import type { HostParts } from './parts.js';
import type { Running, Slot } from './slot.js';
import type { SpawnEnd } from './spawn.js';
import type { ModuleStart } from './start-module.js';

/** Starts and ends one module's spawns, and tells each step. Callers see to it that a module has one command at a time. */
export interface ModuleLife {
  /**
   * Resolves at Ready, or at once when the module is external. After a failure nothing of the spawn is left.
   *
   * @throws HostError MODULE_ALREADY_LOADED, HOST_STOPPING; CANCELLED when another command wants it stopped; the reason why it may
   *   not run or did not get Ready
   */
  start(slot: Slot): Promise<void>;
  /** Makes a start that is under way give up; does nothing otherwise. */
  interrupt(slot: Slot): void;
  /** Stops what runs and waits until nothing of it is left. */
  stop(slot: Slot, why: string): Promise<void>;
}

/** What the life of one module is made of. */
export interface ModuleLifeParts extends Pick<HostParts, 'clock' | 'log' | 'lifecycleEvents' | 'release'> {
  startSpawn: ModuleStart;
  /** May it run? Gives its configuration. @throws why not */
  verify(slot: Slot): Readonly<Record<string, unknown>>;
  isStopping(): boolean;
  /** An external module has gone: its socket is offered anew. */
  offerAgain(slot: Slot): void;
}

/** Makes the life of a host's modules, one at a time. */
export function createModuleLife(parts: ModuleLifeParts): ModuleLife {
  const { lifecycleEvents, clock, log } = parts;

  const spawnName = (slot: Slot, running: Running) => ({
    moduleId: slot.name,
    instanceId: running.spawn.instanceId,
    version: running.version,
  });

  const tellStarted = (slot: Slot, running: Running): void => {
    if (running.started) return;
    running.started = true;
    lifecycleEvents.moduleStarted(spawnName(slot, running));
  };

  /** At Ready the module counts as loaded, and is announced exactly once. */
  const announce = (slot: Slot, running: Running): void => {
    if (running.announced || slot.running !== running) return;
    running.announced = true;
    running.readyUnixMs = clock.unixMs();
    slot.move('RUNNING', 'ready');
    lifecycleEvents.moduleLoaded(spawnName(slot, running));
  };

  const tellCrash = (slot: Slot, running: Running, end: SpawnEnd): void => {
    const error = end.error ?? new HostError('MODULE_CRASHED', `${slot.name} ended unexpectedly`);
    slot.crashes += 1;
    slot.lastError = { error, timeUnixMs: clock.unixMs() };
    slot.move(running.announced ? 'CRASHED' : 'FAILED', error.message);
    // who waits for Ready is told by the start that fails; nobody waits for an external module
    if (running.announced || running.external) log.error({ module: slot.name, reason: error.reason }, error.message);
    lifecycleEvents.moduleCrashed(spawnName(slot, running), {
      error: end.exit === undefined ? error.message : `the process ${describeExit(end.exit)}`,
      exitCode: end.exit?.code ?? 0,
      signal: end.exit?.signal ?? undefined,
    });
  };

  /** The spawn's process, socket and directory are gone; tells it, and gives up what the node holds for the module. */
  const clear = async (slot: Slot, running: Running, end: SpawnEnd): Promise<void> => {
    if (!end.expected) tellCrash(slot, running, end);
    else if (running.started) lifecycleEvents.moduleStopped(spawnName(slot, running));
    if (running.announced) lifecycleEvents.moduleUnloaded(spawnName(slot, running));
    running.log.close();
    slot.running = undefined;
    if (end.expected) slot.move('STOPPED', 'stopped');
    else if (running.external && !parts.isStopping()) parts.offerAgain(slot);
    await parts.release(slot.name);
  };

  const adopt = (slot: Slot, running: Running): void => {
    slot.running = running;
    if (slot.spawned) slot.restarts += 1;
    slot.spawned = true;
    slot.cleared = running.spawn.ended.then((end) => clear(slot, running, end));
    if (!running.external) tellStarted(slot, running);
  };

  /** Why a start must not go on, if so. */
  const givenUp = (slot: Slot): HostError | undefined => {
    if (parts.isStopping()) return new HostError('HOST_STOPPING', 'the host is stopping');
    if (slot.halting > 0) return new HostError('CANCELLED', `${slot.name} was stopped before it was ready`);
    return undefined;
  };

  const run = async (slot: Slot): Promise<void> => {
    const config = parts.verify(slot);
    slot.move('VERIFIED', 'allowed to run UNSIGNED by the operator');
    slot.move('STARTING', slot.settings.run === 'external' ? 'waits for somebody to start it' : 'starting');
    const running = await parts.startSpawn(slot, config, (opened) => {
      if (opened.external) tellStarted(slot, opened);
    });
    adopt(slot, running);
    if (givenUp(slot) !== undefined) void running.spawn.stop();
    const ready = running.spawn.ready.then(() => announce(slot, running));
    if (running.external) ready.catch(() => {});
    else await ready;
  };

  return {
    async start(slot) {
      // one that has just ended by itself may still be being cleared away
      if (slot.running === undefined || slot.running.spawn.session.ended.aborted) await slot.cleared;
      if (slot.running !== undefined) {
        throw new HostError('MODULE_ALREADY_LOADED', `${slot.name} is ${slot.state().toLowerCase()} already`);
      }
      const obstacle = givenUp(slot);
      if (obstacle !== undefined) throw obstacle;
      slot.starting = true;
      try {
        await run(slot);
      } catch (thrown) {
        const hadSpawn = slot.running !== undefined;
        await slot.cleared;
        const error = givenUp(slot) ?? HostError.from(thrown);
        if (error.reason === 'CANCELLED' || error.reason === 'HOST_STOPPING') {
          if (slot.state() === 'STARTING' || slot.state() === 'VERIFIED') slot.move('STOPPED', error.message);
          throw error;
        }
        slot.lastError = { error, timeUnixMs: clock.unixMs() };
        if (!hadSpawn) slot.move('FAILED', error.message);
        log.error({ module: slot.name, reason: error.reason }, `not loaded: ${error.message}`);
        throw error;
      } finally {
        slot.starting = false;
      }
    },
    interrupt(slot) {
      if (slot.starting) void slot.running?.spawn.stop();
    },
    async stop(slot, why) {
      const { running } = slot;
      if (running !== undefined) {
        slot.move('STOPPING', why);
        await running.spawn.stop();
      } else if (slot.state() === 'CRASHED' || slot.state() === 'FAILED') {
        slot.move('STOPPED', why);
      }
      await slot.cleared;
    },
  };
}
