import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LogLine } from '../../gen/ts/modhost/admin/v1/admin.js';
import { LogLevel } from '../../gen/ts/modhost/v1/log.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createSilentLogger } from '../../src/core/logger.js';
import type { HeardEvent } from '../../src/events/listener.js';
import { createHost, type Host } from '../../src/host/host.js';
import type { HostOptions } from '../../src/host/options.js';
import { createDevchain } from '../../src/node/devchain/devchain.js';
import type { NodeApi } from '../../src/node/node-api.js';

/** A module with a process of its own. */
export interface SpawnedModule {
  /** Steps of `modules/main.mjs`; default `handshake ready`. */
  behaviour?: string;
  /** Further variables of its manifest. */
  env?: Readonly<Record<string, string>>;
  /** Lines of the manifest beyond name, version and run. */
  manifest?: string;
  /** Runs this instead of `modules/main.mjs`: a program in Python. */
  python?: string;
  version?: string;
  /** Interpreter and arguments instead of those of `modules/main.mjs`. */
  command?: readonly string[];
  /** Executes this file, text or bytes, instead of an interpreter. */
  executable?: string;
}

/** A real host with real processes in a real sandbox. */
export interface SpawnedHost {
  host: Host;
  dir: string;
  modulesDir: string;
  socketDir: string;
  /** Events that the host published, in order. */
  heard: HeardEvent[];
  /** Their names and modules, `moduleLoaded a`; state changes as `moduleStateChanged a RUNNING`; changes of health left out. */
  told(about?: string): string[];
  /** Lines of a module, or of the host on it. */
  lines(module: string): LogLine[];
  /** Writes a module's directory anew. */
  write(name: string, module: SpawnedModule): void;
  /** Directories of spawns that exist now. */
  spawnDirectories(): string[];
  dispose(): Promise<void>;
}

/** Names of the states, by number. */
export const STATES: readonly string[] = [
  ...['UNSPECIFIED', 'DISCOVERED', 'VERIFIED', 'STARTING', 'RUNNING', 'DEGRADED', 'STOPPING', 'STOPPED', 'CRASHED'],
  ...['BACKOFF', 'QUARANTINED', 'FAILED'],
];

/** A directory for a host, which modules of other users can enter. */
export function makeDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'mh-'));
  chmodSync(dir, 0o711);
  return dir;
}

/** Writes one module's directory. */
export function writeModule(modulesDir: string, name: string, module: SpawnedModule): void {
  const dir = join(modulesDir, name);
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  const script = module.python === undefined ? ['node', '/module/main.mjs'] : ['python3', '/module/main.py'];
  const run = module.executable === undefined ? `command = ${JSON.stringify(module.command ?? script)}\n` : '';
  const env = { BEHAVIOUR: module.behaviour ?? 'handshake ready', VERSION: module.version ?? '1.0.0', ...module.env };
  const text = Object.entries(env).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  writeFileSync(
    join(dir, 'module.toml'),
    `name = "${name}"\nversion = "${module.version ?? '1.0.0'}"\n${module.manifest ?? ''}\n[run]\n${run}env = { ${text.join(', ')} }\n`,
  );
  if (module.python !== undefined) writeFileSync(join(dir, 'main.py'), module.python);
  if (module.executable !== undefined) writeFileSync(join(dir, name), module.executable, { mode: 0o755 });
  copyFileSync(new URL('./modules/main.mjs', import.meta.url), join(dir, 'main.mjs'));
}

/** Makes and starts a host over these modules; nothing is loaded yet. */
export async function createSpawnedHost(
  modules: Readonly<Record<string, SpawnedModule>>,
  more: Partial<HostOptions> = {},
  wrapNode: (node: NodeApi) => NodeApi = (node) => node,
): Promise<SpawnedHost> {
  const dir = makeDirectory();
  const modulesDir = join(dir, 'm');
  const socketDir = join(dir, 's');
  mkdirSync(modulesDir, { mode: 0o755 });
  for (const [name, module] of Object.entries(modules)) writeModule(modulesDir, name, module);
  const logger = createSilentLogger();
  const host = createHost({
    modulesDir,
    dataDir: join(dir, 'd'),
    socketDir,
    node: wrapNode(createDevchain({ clock: createSystemClock(), logger })),
    allowUnsigned: Object.keys(modules),
    // what crashes stays down long enough to be looked at
    restartTimes: { firstMs: 60_000, maxMs: 60_000 },
    logger,
    ...more,
  });
  const heard: HeardEvent[] = [];
  const hearing = (async () => {
    for await (const event of host.events()) heard.push(event);
  })();
  try {
    await host.start();
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  const { control } = host;
  const nameOf = ({ event: { payload } }: HeardEvent): { text: string; module: string } => {
    const value = (payload?.value ?? {}) as { moduleName?: string; newState?: number };
    const state = payload?.$case === 'moduleStateChanged' ? ` ${STATES[value.newState ?? 0]}` : '';
    return { text: `${payload?.$case} ${value.moduleName ?? ''}${state}`.trim(), module: value.moduleName ?? '' };
  };
  const lines: LogLine[] = [];
  const reading = new AbortController();
  const read = (async () => {
    const filter = { modules: [], minLevel: LogLevel.UNSPECIFIED, tail: 10_000, follow: true };
    for await (const batch of control.logs(filter, reading.signal)) lines.push(...batch.lines);
  })();
  return {
    host,
    dir,
    modulesDir,
    socketDir,
    heard,
    told: (about) =>
      heard
        .map(nameOf)
        // when a health check ends is a matter of time, so tests of it look at `heard`
        .filter(({ text }) => !text.startsWith('moduleHealthChanged'))
        .flatMap(({ text, module }) => (about === undefined || module === about ? [text] : [])),
    lines: (module) => lines.filter((line) => line.module === module),
    write: (name, module) => writeModule(modulesDir, name, module),
    spawnDirectories: () => readdirSync(socketDir).filter((name) => /^[0-9a-f]{8}$|^x-/.test(name)),
    async dispose() {
      await host.stop();
      reading.abort();
      await Promise.all([hearing, read]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Waits until a condition holds, looking every few milliseconds. */
export async function until(what: string, holds: () => boolean, timeoutMs = 15_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The reason of a refusal, or `OK`. */
export async function reason(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'OK';
  } catch (error) {
    return String((error as { reason?: unknown }).reason ?? error);
  }
}
