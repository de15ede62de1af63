import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { Served } from '../ipc/server.js';
import type { NameResolver } from '../network/resolver.js';
import type { EventLimits } from '../services/event.js';
import type { Session } from '../session/session.js';
import type { Kept } from './kept.js';
import type { LifecycleEvents } from './lifecycle-events.js';
import type { LogBook } from './log-book.js';
import type { Observations } from './observation.js';
import type { HostOptions } from './options.js';
import type { SettingsBook } from './settings-book.js';
import type { Running, Slot } from './slot.js';
import type { SpawnRoom } from './spawn.js';
import type { Switches } from './switches.js';

/** What the services of a spawn must know of their module. */
export interface ServedModule {
  slot: Slot;
  running: Running;
  external: boolean;
}

/** What the life of modules is built from; made once per host. */
export interface HostParts {
  options: HostOptions;
  /** Version of the package. */
  version: string;
  clock: Clock;
  log: Logger;
  logBook: LogBook;
  lifecycleEvents: LifecycleEvents;
  eventLimits: EventLimits;
  callsPerSecond: number;
  spawnRoom: SpawnRoom;
  /** Turns names into addresses for all modules. */
  resolver: NameResolver;
  /** What the host keeps for its modules. */
  kept: Kept;
  /** What modules are seen to use. */
  observations: Observations;
  /** What the operator says of each module, as it is in force. */
  settings: SettingsBook;
  /** Which modules the operator has switched on and off. */
  switches: Switches;
  /** Makes the services of one session. */
  serve(session: Session, module: ServedModule): Served[];
  /** Gives up what the node holds for a module whose session has ended. */
  release(moduleId: string): Promise<void>;
}
