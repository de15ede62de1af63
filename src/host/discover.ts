import { lstatSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { HostError } from '../contract/error.js';
import type { Manifest } from '../manifest/manifest.js';
import { parseManifest } from '../manifest/parse.js';
import { MAX_MANIFEST_BYTES } from '../manifest/text.js';
import type { ModuleSettings } from './options.js';

/** Name of the file that makes a directory a module. */
export const MANIFEST_FILE = 'module.toml';

/** A module that lies on disk. */
export interface FoundModule {
  manifest: Manifest;
  /** Its directory, absolute. */
  dir: string;
}

/** A directory that looks like a module and is none. */
export interface BrokenModule {
  name: string;
  error: HostError;
}

/** What a scan found; one bad directory does not end it. */
export interface Discovery {
  found: FoundModule[];
  broken: BrokenModule[];
}

/**
 * Every direct subdirectory of `modulesDir` with a module.toml, and every directory that the operator names by `path`.
 */
export function discover(modulesDir: string, settings: Readonly<Record<string, ModuleSettings>>): Discovery {
  const discovery: Discovery = { found: [], broken: [] };
  const elsewhere = new Map(Object.entries(settings).filter(([, { path }]) => path !== undefined));
  const names = readDirectories(modulesDir).filter((name) => !elsewhere.has(name));
  for (const name of [...names, ...elsewhere.keys()].sort()) {
    const dir = moduleDir(modulesDir, name, elsewhere.get(name));
    if (!elsewhere.has(name) && lstatSync(join(dir, MANIFEST_FILE), { throwIfNoEntry: false }) === undefined) continue;
    try {
      discovery.found.push(readModule(dir, name));
    } catch (error) {
      discovery.broken.push({ name, error: HostError.from(error) });
    }
  }
  return discovery;
}

/** Where a module of this name lies. */
export function moduleDir(modulesDir: string, name: string, settings: ModuleSettings | undefined): string {
  return resolve(settings?.path ?? join(modulesDir, name));
}

/**
 * Reads one module's manifest.
 *
 * @param name what the operator calls it; the manifest must say the same
 * @throws     HostError MODULE_NOT_FOUND, NAME_MISMATCH and every reason of a broken manifest
 */
export function readModule(dir: string, name: string): FoundModule {
  const path = join(dir, MANIFEST_FILE);
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new HostError('MODULE_NOT_FOUND', `there is no ${MANIFEST_FILE} in ${dir}`);
  if (!stat.isFile()) throw new HostError('MANIFEST_SYNTAX', `${path} is no regular file`);
  // before the file is read: a manifest is small, and a huge one is an attack on the host's memory
  if (stat.size > MAX_MANIFEST_BYTES) {
    throw new HostError('MANIFEST_TOO_LARGE', `${path} has ${stat.size} bytes, at most ${MAX_MANIFEST_BYTES} are read`);
  }
  const manifest = parseManifest(readFileSync(path));
  if (manifest.name !== name) {
    throw new HostError('NAME_MISMATCH', `${path} names the module ${manifest.name}, it was asked for as ${name}`, {
      details: { manifest: manifest.name, asked: name, directory: basename(dir) },
    });
  }
  // the sandbox refuses links on its way, so the real path is what is remembered
  return { manifest, dir: realpathSync(dir) };
}

function readDirectories(modulesDir: string): string[] {
  try {
    return readdirSync(modulesDir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (cause) {
    throw new HostError('BAD_CONFIG', `the modules directory ${modulesDir} cannot be read`, { cause });
  }
}
