import { type ModuleDescription, ModuleServiceService } from '../../gen/ts/modhost/v1/module.js';
import { ModuleState } from '../../gen/ts/modhost/v1/module_state.js';
import { capabilityName } from '../contract/permission.js';
import type { StrictWire } from '../contract/strict-wire.js';
import type { Clock } from '../core/clock.js';
import { printableLine } from '../core/printable.js';
import type { Served } from '../ipc/server.js';
import { createModuleService } from '../services/module.js';
import { type ApiOffer, type CallPlace, type CallRouter, createCallRouter } from '../session/calls.js';
import type { Session } from '../session/session.js';
import type { KeptStatus } from './kept.js';
import type { Lifecycle } from './lifecycle.js';
import type { HostOptions } from './options.js';
import type { ServedModule } from './parts.js';
import { providedServices, servicesOf } from './providers.js';
import { inWords, isAvailable, type Slot } from './slot.js';

/** Longest description and author that modules are told of one another, characters. */
const MAX_SHOWN_CHARS = 512;
/** A module that comes and goes without a known time is asked again after this one, milliseconds. */
const RETRY_AFTER_MS = 1_000;

/** The modules of a host as they know and call one another. */
export interface ModuleCalls {
  readonly router: CallRouter;
  /** ModuleService of one session, and the services that other modules answer for it. */
  serve(session: Session, module: ServedModule): Served[];
  status(slot: Slot): Pick<KeptStatus, 'apiVersion' | 'provides'>;
}

/** What they need of the host. */
export interface ModuleCallsParts {
  readonly options: HostOptions;
  readonly clock: Clock;
  readonly wire: StrictWire;
  /** Modules as they stand; undefined until the host has begun. */
  lifecycle(): Pick<Lifecycle, 'slot' | 'slots'> | undefined;
}

/** Makes them for one host. */
export function createModuleCalls(parts: ModuleCallsParts): ModuleCalls {
  const slotOf = (name: string): Slot | undefined => parts.lifecycle()?.slot(name);
  const names = (): string[] => (parts.lifecycle()?.slots() ?? []).map(({ name }) => name);
  const router = createCallRouter({
    names,
    find(name) {
      const slot = slotOf(name);
      return slot === undefined ? undefined : placeOf(slot, parts.clock);
    },
  });
  const book = {
    names,
    describe(name: string) {
      const slot = slotOf(name);
      return slot === undefined ? undefined : descriptionOf(slot, router.offerOf(name));
    },
    availability(name: string) {
      const slot = slotOf(name);
      if (slot === undefined) return undefined;
      const serves = slot.running?.spawn?.session.invocations.serving() ?? false;
      return { available: isAvailable(slot) && serves, state: ModuleState[slot.state()] };
    },
  };
  return {
    router,
    serve: (session, { slot }) => [
      {
        definition: ModuleServiceService,
        impl: createModuleService(session, { book, calls: router, declared: slot.manifest.api }),
      },
      ...providedServices(session, {
        providers: parts.options.providers ?? {},
        calls: router,
        wire: parts.wire,
        blame: (provider, what) => slotOf(provider)?.running?.spawn?.session.invocations.blame(what),
      }),
    ],
    status: ({ name }) => ({
      apiVersion: router.offerOf(name)?.version ?? 0,
      provides: servicesOf(parts.options.providers ?? {}, name),
    }),
  };
}

/** Where a module stands for those who call it. */
function placeOf(slot: Slot, clock: Clock): CallPlace {
  const { running, waiting, settings } = slot;
  if (isAvailable(slot) && running !== undefined) {
    const callers = settings.allowedCallers;
    return {
      kind: 'open',
      session: running.spawn.session,
      callers: callers === undefined ? undefined : new Set(callers),
    };
  }
  const state = slot.state();
  const isResting = state === 'DISCOVERED' || state === 'STOPPED';
  if (isResting && !slot.wanted && !slot.starting && waiting === undefined) return { kind: 'unloaded' };
  const dueMs = waiting?.kind === 'time' ? waiting.dueMs - clock.monotonicMs() : RETRY_AFTER_MS;
  return { kind: 'away', words: inWords(slot), retryAfterMs: Math.max(RETRY_AFTER_MS, Math.ceil(dueMs)) };
}

function descriptionOf(slot: Slot, offer: ApiOffer | undefined): ModuleDescription {
  const { manifest, running } = slot;
  return {
    name: slot.name,
    version: running?.version ?? manifest.version,
    description: printableLine(manifest.description, MAX_SHOWN_CHARS),
    author: printableLine(manifest.author, MAX_SHOWN_CHARS),
    state: ModuleState[slot.state()],
    capabilities: manifest.capabilities.map(capabilityName).sort(),
    apiVersion: offer?.version ?? 0,
    apiMethods: [...(offer?.methods ?? [])].sort(),
  };
}
