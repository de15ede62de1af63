import type { ModuleLoaded } from '../../gen/ts/modhost/event/v1/module.js';
import type { EventPayload } from '../contract/event-type.js';

/** The modules that are loaded, as the events published so far tell it; so a replay never contradicts the stream. */
export interface LoadedModules {
  /** Looks at an event that is being published. */
  observe(payload: EventPayload): void;
  /** One ModuleLoaded for each loaded module, in the order of loading. */
  list(): ModuleLoaded[];
}

/** Makes the list, empty. */
export function createLoadedModules(): LoadedModules {
  const loaded = new Map<string, ModuleLoaded>();
  return {
    observe(payload) {
      if (payload.$case === 'moduleLoaded') loaded.set(payload.value.instanceId, payload.value);
      if (payload.$case === 'moduleUnloaded') loaded.delete(payload.value.instanceId);
    },
    list: () => [...loaded.values()],
  };
}
