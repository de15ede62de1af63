import { HostError } from '../contract/error.js';
import { nearest } from '../core/nearest.js';
import type { Manifest } from '../manifest/manifest.js';
import { discover, moduleDir, readModule } from './discover.js';
import type { HostParts } from './parts.js';
import { createSlot, isUp, type Slot, type SlotParts } from './slot.js';

/** What became of one module in autoLoad. */
export interface LoadOutcome {
  name: string;
  /** Undefined when it is loaded. */
  error: HostError | undefined;
}

/** The modules that a host knows. */
export interface Shelf {
  slots(): Slot[];
  slot(name: string): Slot | undefined;
  /** Names of modules and of broken directories, for messages. */
  known(): string[];
  /** Directories that look like modules and are none, as they were found last. */
  broken(): readonly LoadOutcome[];
  /** What lies on disk now. @throws why it is no module */
  read(name: string): { manifest: Manifest; dir: string };
  /** Remembers a manifest; what runs or starts keeps the one that it began with. */
  take(manifest: Manifest, dir: string): Slot;
  /** Before a start: what the operator says of it now counts. */
  refresh(slot: Slot): void;
  /** Reads one module anew; one that neither runs nor lies there any more is forgotten. @throws MODULE_NOT_FOUND, or why not */
  find(name: string): Slot;
  /** Reads all modules anew. */
  findAll(): Slot[];
}

/** Makes an empty shelf. */
export function createShelf(parts: HostParts, slotParts: SlotParts): Shelf {
  const slots = new Map<string, Slot>();
  let broken: LoadOutcome[] = [];

  const settingsOf = (name: string) => parts.settings.of(name);
  const isUnsignedAllowed = (name: string): boolean =>
    settingsOf(name).unsigned === true || (parts.options.allowUnsigned ?? []).includes(name);
  const known = (): string[] => [...new Set([...slots.keys(), ...broken.map(({ name }) => name)])];

  const take = (manifest: Manifest, dir: string): Slot => {
    const facts = { manifest, dir, settings: settingsOf(manifest.name), unsigned: isUnsignedAllowed(manifest.name) };
    const before = slots.get(manifest.name);
    if (before !== undefined && isUp(before)) return before;
    const isNews = before?.manifest.version !== manifest.version;
    const slot = before ?? createSlot(facts, slotParts);
    Object.assign(slot, facts);
    slots.set(slot.name, slot);
    if (isNews) parts.lifecycleEvents.moduleDiscovered(slot.name, manifest.version, 'FILESYSTEM');
    return slot;
  };
  const read = (name: string) => readModule(moduleDir(parts.options.modulesDir, name, settingsOf(name)), name);

  /** Names in the operator's options that exist nowhere are told, not ignored. */
  const tellStrangers = (): void => {
    const names = known();
    for (const name of new Set([...Object.keys(parts.settings.all()), ...(parts.options.allowUnsigned ?? [])])) {
      if (names.includes(name)) continue;
      const near = nearest(name, names);
      parts.log.warn({ module: name }, `no such module${near === undefined ? '' : `; did you mean ${near}?`}`);
    }
  };

  return {
    slots: () => [...slots.values()],
    slot: (name) => slots.get(name),
    known,
    broken: () => broken,
    read,
    take,
    refresh(slot) {
      slot.settings = settingsOf(slot.name);
      slot.unsigned = isUnsignedAllowed(slot.name);
    },
    find(name) {
      const before = slots.get(name);
      if (before !== undefined && isUp(before)) return before;
      try {
        const { manifest, dir } = read(name);
        return take(manifest, dir);
      } catch (error) {
        // one that waits to be started again has a manifest that was good, and goes on with it
        const isGone = HostError.from(error).reason === 'MODULE_NOT_FOUND';
        if (isGone && before?.waiting === undefined) slots.delete(name);
        throw error;
      }
    },
    findAll() {
      const discovery = discover(parts.options.modulesDir, parts.settings.all());
      broken = discovery.broken;
      for (const { name, error } of discovery.broken) {
        parts.log.error({ module: name, reason: error.reason }, `not a module: ${error.message}`);
      }
      const found = discovery.found.map(({ manifest, dir }) => take(manifest, dir));
      tellStrangers();
      return found;
    },
  };
}
