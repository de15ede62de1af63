import type { ModuleStateName } from './lifecycle-events.js';
import { hardDependencies } from './order.js';
import { inWords, isAvailable, isUp, type Slot } from './slot.js';

/** What the modules that need another one do when that one comes and goes. */
export interface Dependents {
  /** Modules that run, or are being started, and cannot do without it. */
  of(name: string): Slot[];
  /** A module has moved to another state. */
  moved(slot: Slot, before: ModuleStateName): void;
  /** Says whether a module that is Ready is whole: RUNNING, or DEGRADED by its health or for what it lacks. */
  judge(slot: Slot): void;
}

/** What dependents are made of. */
export interface DependentsParts {
  slots(): Iterable<Slot>;
  slot(name: string): Slot | undefined;
  isStopping(): boolean;
  /** A module is Ready: those that wait for it start. */
  available(name: string): void;
  /** Stops a module in its turn if what it needs has not come back by then; it starts again with that. */
  park(slot: Slot, need: string): void;
}

/** States from which a module comes back only by a command. */
const GONE: ReadonlySet<ModuleStateName> = new Set<ModuleStateName>(['STOPPED', 'QUARANTINED', 'FAILED']);

/**
 * Makes the rules: while a module is being restarted those that need it go on, DEGRADED; when it is gone for good they are
 * stopped, and start again when it is back. Modules that can do without it hear of it by its events alone.
 */
export function createDependents(parts: DependentsParts): Dependents {
  const of = (name: string): Slot[] =>
    [...parts.slots()].filter((slot) => isUp(slot) && hardDependencies(slot.manifest).includes(name));

  const judge = (slot: Slot): void => {
    if (!isAvailable(slot)) return;
    const troubles: string[] = [];
    const ofHealth = slot.running?.health.trouble();
    if (ofHealth !== undefined) troubles.push(ofHealth);
    for (const name of hardDependencies(slot.manifest)) {
      const needed = parts.slot(name);
      if (!isAvailable(needed)) troubles.push(`needs ${name}, which is ${inWords(needed)}`);
    }
    if (troubles.length === 0) slot.move('RUNNING', 'ready');
    else slot.move('DEGRADED', troubles.join('; '));
  };

  return {
    of,
    judge,
    moved(slot, before) {
      if (parts.isStopping()) return;
      const was = before === 'RUNNING' || before === 'DEGRADED';
      if (isAvailable(slot) && !was) parts.available(slot.name);
      if (isAvailable(slot) !== was) for (const dependent of of(slot.name)) judge(dependent);
      if (GONE.has(slot.state())) for (const dependent of of(slot.name)) parts.park(dependent, slot.name);
    },
  };
}
