import type { ModuleHealth } from '../../gen/ts/modhost/v1/health.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { printableLine } from '../core/printable.js';
import type { HealthBook } from '../services/health.js';
import type { Lifecycle } from './lifecycle.js';
import { isAvailable, type Running, type Slot } from './slot.js';

/** Longest reason that others are told, characters. */
const MAX_REASON_CHARS = 512;

/** What the session of one spawn may know of all modules' health, and where its own word goes. */
export function createHealthBook(own: Running, slots: () => Pick<Lifecycle, 'slot' | 'slots'> | undefined): HealthBook {
  return {
    report: (report) => own.health.reported(report),
    health(name) {
      const slot = slots()?.slot(name);
      return slot === undefined ? undefined : healthOf(slot);
    },
    modules: () => (slots()?.slots() ?? []).map(({ name }) => name),
  };
}

function healthOf(slot: Slot): ModuleHealth {
  const health = slot.running?.health;
  const word = health?.report();
  return {
    module: slot.name,
    state: ModuleState[slot.state()],
    responsive: isAvailable(slot) && health?.missedProbes() === 0,
    missedProbes: health?.missedProbes() ?? 0,
    report: word?.report,
    reportedUnixMs: BigInt(word?.timeUnixMs ?? 0),
    reason: printableLine(slot.why(), MAX_REASON_CHARS),
  };
}
