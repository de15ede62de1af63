import { HostError } from '../contract/error.js';
import { startOrder } from './order.js';
import type { HostParts } from './parts.js';
import type { LoadOutcome, Shelf } from './shelf.js';
import { inTurn, isUp, type Slot } from './slot.js';
import { isEnabled } from './switches.js';

/**
 * Loads every enabled module that lies on disk, in the order of dependencies: modules that wait for nobody start together,
 * the rest after the first attempt of what they need. A failure stays with its module and those that need it. Modules that
 * supervision is starting again, or holds, are left to it, and their outcome is what is wrong with them.
 */
export async function autoLoad(
  parts: Pick<HostParts, 'log' | 'switches'>,
  shelf: Shelf,
  start: (slot: Slot) => Promise<void>,
): Promise<LoadOutcome[]> {
  const idle: Slot[] = [];
  const outcomes: LoadOutcome[] = [];
  const found = shelf.findAll();
  // what was disabled is not known any more: better nothing starts than what was to stay down
  const unknown = parts.switches.broken();
  if (unknown !== undefined) throw unknown;
  for (const slot of found) {
    if (isUp(slot)) continue;
    if (!isEnabled(parts.switches, slot.name, slot.settings)) {
      const by = parts.switches.of(slot.name) === false ? 'by the operator' : 'in the configuration';
      if (slot.state() === 'DISCOVERED') slot.move('STOPPED', `disabled ${by}`);
    } else if (slot.waiting !== undefined || slot.state() === 'QUARANTINED') {
      outcomes.push({ name: slot.name, error: new HostError(heldReason(slot), `${slot.name}: ${slot.why()}`) });
    } else {
      idle.push(slot);
    }
  }
  outcomes.unshift(...shelf.broken());
  const { ordered, circles } = startOrder(idle.map(({ manifest }) => manifest));
  for (const [name, error] of circles) {
    const slot = shelf.slot(name) as Slot;
    slot.blame(error);
    slot.move('FAILED', error.message);
    parts.log.error({ module: name, reason: error.reason }, `not loaded: ${error.message}`);
    outcomes.push({ name, error });
  }
  const pending = new Map<string, Promise<LoadOutcome>>();
  for (const { name, dependencies, optionalDependencies } of ordered) {
    const slot = shelf.slot(name) as Slot;
    const before = [...dependencies.keys(), ...optionalDependencies.keys()].flatMap((need) => pending.get(need) ?? []);
    const loading = Promise.all(before).then(() =>
      inTurn(slot, () => {
        slot.wanted = true;
        return start(slot);
      }),
    );
    pending.set(
      name,
      loading.then(
        () => ({ name, error: undefined }),
        (error: unknown) => ({ name, error: HostError.from(error) }),
      ),
    );
  }
  return [...outcomes, ...(await Promise.all(pending.values()))];
}

/** Why a module that supervision has taken over does not run. */
function heldReason(slot: Slot) {
  if (slot.state() === 'QUARANTINED') return 'QUARANTINED';
  return slot.waiting?.kind === 'module' ? 'DEPENDENCY_MISSING' : 'MODULE_UNAVAILABLE';
}
