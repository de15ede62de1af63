import { HostError } from '../contract/error.js';
import { nameRefusal } from '../manifest/rules.js';
import { moduleDir, readModule } from './discover.js';
import type { Lifecycle } from './lifecycle.js';
import type { HostOptions } from './options.js';
import type { SettingsBook } from './settings-book.js';
import { isUp } from './slot.js';
import type { Switches } from './switches.js';

/** What switching needs of a host. */
export interface SwitchParts {
  readonly options: Pick<HostOptions, 'modulesDir'>;
  readonly settings: Pick<SettingsBook, 'of'>;
  readonly lifecycle: Pick<Lifecycle, 'slot' | 'known' | 'load' | 'unload'>;
  readonly switches: Switches;
}

/** Switches modules on and off for good. */
export interface SwitchControl {
  /** Keeps the switch, then starts the module unless it runs. @throws as load; DISK_FULL, DATA_CORRUPT */
  enable(name: string): Promise<void>;
  /** Stops the module and keeps the switch; answers what `cascade` took along. @throws as unload; DISK_FULL, DATA_CORRUPT */
  disable(name: string, cascade: boolean): Promise<string[]>;
}

/** Makes what `modhost enable` and `modhost disable` do. */
export function createSwitchControl({ options, lifecycle, settings, switches }: SwitchParts): SwitchControl {
  /** A module whose manifest is broken can be switched too: it is there, and may be mended. */
  const assertThere = (name: string): void => {
    if (lifecycle.known().includes(name)) return;
    const missing = (): HostError => new HostError('MODULE_NOT_FOUND', `no module ${name}`);
    if (nameRefusal(name) !== undefined) throw missing();
    try {
      readModule(moduleDir(options.modulesDir, name, settings.of(name)), name);
    } catch (error) {
      if (HostError.from(error).reason === 'MODULE_NOT_FOUND') throw missing();
    }
  };
  return {
    async enable(name) {
      assertThere(name);
      switches.set(name, true);
      try {
        await lifecycle.load(name);
      } catch (error) {
        if (!(error instanceof HostError && error.reason === 'MODULE_ALREADY_LOADED')) throw error;
      }
    },
    async disable(name, cascade) {
      assertThere(name);
      const slot = lifecycle.slot(name);
      // a module that others need stays as it was, its switch too
      const gone = slot === undefined ? [] : await lifecycle.unload(name, cascade);
      switches.set(name, false);
      if (slot !== undefined && !isUp(slot)) slot.move(slot.state(), 'disabled by the operator');
      return gone;
    },
  };
}
