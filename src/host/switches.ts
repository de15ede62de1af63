import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { HostError } from '../contract/error.js';

/** Name of the file below the host's data directory. */
export const SWITCHES_FILE = 'switches.json';
/** Largest file that is read, bytes: a name and a word for each of 10,000 modules. */
const MAX_BYTES = 1_048_576;

/** What `modhost enable` and `modhost disable` have switched; it stands over `enabled` in the operator's file. */
export interface Switches {
  /** How the module's switch stands; undefined when nobody has touched it. @throws DATA_CORRUPT */
  of(name: string): boolean | undefined;
  /**
   * Keeps a switch, on disk before it returns.
   *
   * @throws HostError DATA_CORRUPT (the file holds something else: it is not written over), DISK_FULL
   */
  set(name: string, enabled: boolean): void;
  /** What is wrong with the file; undefined when nothing is. */
  broken(): HostError | undefined;
}

/**
 * Opens the switches of a host, which nobody else may write. Nothing is read before the first question, and an absent file
 * means that nothing is switched. With a broken one nobody knows what was disabled, so every question fails until the file
 * is mended or removed.
 *
 * @param path the file: one JSON object of module name to true or false
 */
export function createSwitches(path: string): Switches {
  let known: Map<string, boolean> | undefined;
  const read = (): Map<string, boolean> => {
    // what was broken is read again: the operator may have mended it meanwhile
    known ??= readSwitches(path);
    return known;
  };
  return {
    of: (name) => read().get(name),
    set(name, enabled) {
      const next = new Map([...read(), [name, enabled]]);
      write(path, next);
      known = next;
    },
    broken() {
      try {
        read();
        return undefined;
      } catch (error) {
        return HostError.from(error);
      }
    },
  };
}

function readSwitches(path: string): Map<string, boolean> {
  const corrupt = (cause?: unknown): HostError =>
    new HostError('DATA_CORRUPT', `${path} does not hold the switches of modules; mend it, or remove it`, { cause });
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
    throw corrupt(error);
  }
  if (text.length > MAX_BYTES) throw corrupt();
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw corrupt(error);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw corrupt();
  const switches = new Map<string, boolean>();
  for (const [name, enabled] of Object.entries(parsed)) {
    if (typeof enabled !== 'boolean') throw corrupt();
    switches.set(name, enabled);
  }
  return switches;
}

/** The whole file under another name, synced, then in its place: after a crash there is the old one or the new one. */
function write(path: string, switches: ReadonlyMap<string, boolean>): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  const sorted = [...switches].sort(([a], [b]) => (a < b ? -1 : 1));
  try {
    synced(openSync(temporary, 'wx', 0o600), (file) =>
      writeSync(file, `${JSON.stringify(Object.fromEntries(sorted), undefined, 2)}\n`),
    );
    renameSync(temporary, path);
    synced(openSync(dirname(path), 'r'), () => {});
  } catch (error) {
    rmSync(temporary, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    throw new HostError('DISK_FULL', `${path} cannot be written: the disk is full`, { cause: error });
  }
}

function synced(file: number, act: (file: number) => void): void {
  try {
    act(file);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** True when a module is started by itself: by its switch, else by the operator's file; never while the switches are unknown. */
export function isEnabled(switches: Switches, name: string, settings: { readonly enabled?: boolean }): boolean {
  if (switches.broken() !== undefined) return false;
  return switches.of(name) ?? settings.enabled !== false;
}
