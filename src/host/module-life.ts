import { StopReason } from '../../gen/ts/modhost/v1/invocation.js';
import { HostError } from '../contract/error.js';
import type { ModuleConfig } from '../manifest/config.js';
import { describeExit } from '../process/exit.js';
import { createMonitor, HUNG_AFTER_MISSES } from '../process/monitor.js';
import { createModuleHealth, type ModuleHealth } from './module-health.js';
import type { HostParts } from './parts.js';
import type { Running, Slot } from './slot.js';
import type { SpawnEnd } from './spawn.js';
import type { ModuleStart } from './start-module.js';
import type { Supervision } from './supervision.js';

/** Starts and ends one module's spawns, and tells each step. Callers see to it that a module has one command at a time. */
export interface ModuleLife {
  /**
   * Resolves at Ready, or at once when the module is external. After a failure nothing of the spawn is left, and the
   * supervision has decided what follows.
   *
   * @param anew true when the operator starts it: its crashes are forgotten
   * @throws HostError MODULE_ALREADY_LOADED, HOST_STOPPING; CANCELLED when another command wants it stopped; the reason why it may
   *   not run or did not get Ready
   */
  start(slot: Slot, anew: boolean): Promise<void>;
  /** Makes a start that is under way give up; does nothing otherwise. */
  interrupt(slot: Slot): void;
  /** Stops what runs or waits to be started, and waits until nothing of it is left. */
  stop(slot: Slot, why: string, reason?: StopReason): Promise<void>;
}

/** What the life of one module is made of. */
export interface ModuleLifeParts extends Pick<HostParts, 'clock' | 'log' | 'lifecycleEvents' | 'release' | 'kept'> {
  startSpawn: ModuleStart;
  /** May it run? Gives its configuration. @throws why not */
  verify(slot: Slot): ModuleConfig;
  isStopping(): boolean;
  supervision: Supervision;
  /** Judges anew whether a module that is Ready is whole: its health has changed. */
  judge(slot: Slot): void;
}

/** Makes the life of a host's modules, one at a time. */
export function createModuleLife(parts: ModuleLifeParts): ModuleLife {
  const { lifecycleEvents, clock, log, supervision } = parts;

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

  const healthOf = (slot: Slot, running: Running): ModuleHealth =>
    createModuleHealth({
      clock,
      redact: running.redactor.redact,
      onChange(before, now) {
        lifecycleEvents.moduleHealthChanged(spawnName(slot, running), before, now);
        parts.judge(slot);
      },
    });

  /** From Ready until its end the module has to answer: what does not is ended, and the rest follows its end. */
  const watch = (slot: Slot, running: Running): void => {
    const { intervalMs, timeoutMs, mode } = slot.manifest.health;
    const monitor = createMonitor({
      probe: (ms) => running.spawn.probe(ms, mode),
      intervalMs,
      timeoutMs,
      misses: HUNG_AFTER_MISSES,
      clock,
      onAnswer: (report) => running.health.answered(report),
      onMiss(missed, why) {
        slot.errors.add(why.reason);
        log.warn({ module: slot.name, missed, reason: why.reason }, `missed a health check: ${why.message}`);
        running.health.missed(missed, HUNG_AFTER_MISSES);
      },
      onHung() {
        const message = `${slot.name} lived but did not answer ${HUNG_AFTER_MISSES} health checks in a row`;
        const details = { missed: HUNG_AFTER_MISSES, timeoutMs, intervalMs };
        running.spawn.fail(new HostError('MODULE_HUNG', message, { details }));
      },
    });
    // who is dead and being cleared away has not missed anything
    running.spawn.session.ended.addEventListener('abort', monitor.stop, { once: true });
    running.monitor = monitor;
  };

  /** At Ready the module counts as loaded, and is announced exactly once. */
  const announce = (slot: Slot, running: Running): void => {
    if (running.announced || slot.running !== running) return;
    running.announced = true;
    running.readyUnixMs = clock.unixMs();
    running.readyMonotonicMs = clock.monotonicMs();
    slot.move('RUNNING', 'ready');
    lifecycleEvents.moduleLoaded(spawnName(slot, running));
    running.health.open();
    watch(slot, running);
    parts.judge(slot);
  };

  const tellCrash = (slot: Slot, running: Running, end: SpawnEnd, error: HostError): void => {
    running.health.failed();
    slot.blame(error);
    slot.move('CRASHED', error.message);
    // who waits for Ready is told by the start that fails; nobody waits for an external module
    if (running.announced || running.external) log.error({ module: slot.name, reason: error.reason }, error.message);
    // what the host ended it for is the cause, not the signal that it used; words of the module are no cause
    const byItself = error.reason === 'MODULE_CRASHED';
    lifecycleEvents.moduleCrashed(spawnName(slot, running), {
      error: end.exit !== undefined && byItself ? `the process ${describeExit(end.exit)}` : error.message,
      exitCode: end.exit?.code ?? 0,
      signal: end.exit?.signal ?? undefined,
    });
  };

  /** The spawn's process, socket and directory are gone; tells it, and gives up what the node holds for the module. */
  const clear = async (slot: Slot, running: Running, end: SpawnEnd): Promise<void> => {
    running.monitor?.stop();
    const readyMs = running.announced ? clock.monotonicMs() - running.readyMonotonicMs : 0;
    const error = end.expected
      ? undefined
      : (end.error ?? new HostError('MODULE_CRASHED', `${slot.name} ended unexpectedly`));
    const quiet = running.announced && end.exit?.code === 0 && error?.reason === 'MODULE_CRASHED';
    if (error !== undefined && !quiet) tellCrash(slot, running, end, error);
    else if (running.started) lifecycleEvents.moduleStopped(spawnName(slot, running));
    if (running.announced) lifecycleEvents.moduleUnloaded(spawnName(slot, running));
    running.health.close();
    running.log.close();
    slot.running = undefined;
    if (error === undefined) {
      slot.move('STOPPED', slot.state() === 'STOPPING' ? slot.why() : 'stopped');
    } else {
      supervision.ended(slot, {
        error: quiet ? undefined : error,
        wasReady: running.announced,
        readyMs,
        external: running.external,
      });
    }
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

  /** True once there is a spawn: then its end has told what became of it. */
  const run = async (slot: Slot, onAdopted: () => void): Promise<void> => {
    const config = parts.verify(slot);
    await parts.kept.prepare(slot);
    slot.move('VERIFIED', 'allowed to run UNSIGNED by the operator');
    slot.move('STARTING', slot.settings.run === 'external' ? 'waits for somebody to start it' : 'starting');
    const running = await parts.startSpawn(slot, config, {
      health: (made) => healthOf(slot, made),
      opened(made) {
        if (made.external) tellStarted(slot, made);
      },
    });
    adopt(slot, running);
    onAdopted();
    if (givenUp(slot) !== undefined) void running.spawn.stop();
    const ready = running.spawn.ready.then(() => announce(slot, running));
    if (running.external) ready.catch(() => {});
    else await ready;
  };

  return {
    async start(slot, anew) {
      // one that has just ended by itself may still be being cleared away
      if (slot.running === undefined || slot.running.spawn.session.ended.aborted) await slot.cleared;
      if (slot.running !== undefined) {
        throw new HostError('MODULE_ALREADY_LOADED', `${slot.name} is ${slot.state().toLowerCase()} already`);
      }
      const obstacle = givenUp(slot);
      if (obstacle !== undefined) throw obstacle;
      supervision.release(slot);
      if (anew) slot.book.forget();
      slot.starting = true;
      let adopted = false;
      try {
        await run(slot, () => {
          adopted = true;
        });
      } catch (thrown) {
        await slot.cleared;
        const error = givenUp(slot) ?? HostError.from(thrown);
        if (error.reason === 'CANCELLED' || error.reason === 'HOST_STOPPING') {
          if (slot.state() === 'STARTING' || slot.state() === 'VERIFIED') slot.move('STOPPED', error.message);
          throw error;
        }
        log.error({ module: slot.name, reason: error.reason }, `not loaded: ${error.message}`);
        if (!adopted) {
          slot.blame(error);
          supervision.startFailed(slot, error);
        }
        throw error;
      } finally {
        slot.starting = false;
      }
    },
    interrupt(slot) {
      if (slot.starting) void slot.running?.spawn.stop();
    },
    async stop(slot, why, reason = StopReason.UNLOAD) {
      supervision.release(slot);
      const { running } = slot;
      if (running !== undefined) {
        slot.move('STOPPING', why);
        // its grace is for its work, not for answering
        running.monitor?.stop();
        await running.spawn.stop(reason);
      }
      await slot.cleared;
      // a crash that came before the stop has been answered by a wait
      supervision.release(slot);
      if (slot.state() !== 'DISCOVERED') slot.move('STOPPED', why);
    },
  };
}
