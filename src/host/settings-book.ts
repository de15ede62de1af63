import type { HostOptions, ModuleSettings } from './options.js';

/** What the operator says of each module, as it is in force: what a module starts with next. */
export interface SettingsBook {
  /** Of a module that he does not mention, no word. */
  of(name: string): ModuleSettings;
  all(): Readonly<Record<string, ModuleSettings>>;
  /** Replaces what he says of one module; `undefined` = he does not mention it. */
  set(name: string, settings: ModuleSettings | undefined): void;
}

/** Makes the book with what the host is started with. */
export function createSettingsBook(options: Pick<HostOptions, 'modules'>): SettingsBook {
  // a Map: a name such as `constructor` is a name
  const book = new Map(Object.entries(options.modules ?? {}));
  return {
    of: (name) => book.get(name) ?? {},
    all: () => Object.fromEntries(book),
    set(name, settings) {
      if (settings === undefined) book.delete(name);
      else book.set(name, settings);
    },
  };
}
