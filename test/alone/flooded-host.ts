import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { buildGo } from '../go/build.js';
import { createSpawnedHost, type SpawnedHost, type SpawnedModule, until } from '../host/spawned-host.js';

/** What a module wrote down about itself, see test/go. */
export interface Told {
  kind: string;
  /** Number of what was done, counting from 1. */
  n?: number;
  what?: string;
  reason?: string;
  message?: string;
  /** Of a call: when it began, Unix milliseconds, and how long it took. */
  at?: number;
  ms?: number;
  missed?: number;
  counts?: Readonly<Record<string, number>>;
}

/** A host with a module that floods and two that do a little of everything. */
export interface FloodedHost extends SpawnedHost {
  /** What a module has told so far, in its order. */
  toldBy(module: string): Told[];
  /** Has a module do something: `on KIND` and `off` for the one that floods, `rest` and `check` for the others. */
  order(module: string, words: string): void;
  status(module: string): ModuleStatus;
}

/** The two healthy modules; each hears what the other publishes, and the first is the one whose API is flooded. */
export const HEALTHY = ['healthy-a', 'healthy-b'] as const;

const CAPABILITIES = [
  ...['subscribe_events', 'publish_events', 'read_storage', 'write_storage', 'manage_storage', 'manage_timers'],
  ...['report_metrics', 'read_metrics', 'call_module', 'register_module_api', 'read_filesystem', 'write_filesystem'],
];

/** Builds the modules, and starts a host with all three; they are loaded. */
export async function createFloodedHost(): Promise<FloodedHost> {
  const build = mkdtempSync(join(tmpdir(), 'mf-'));
  await buildGo(build, 'flood', 'healthy');
  // a flood of cancels fills its own memory with what Go has not collected: it is not to be ended for that
  const module = (env: Readonly<Record<string, string>>, cpuPercent: number, memoryMb = 512): SpawnedModule => ({
    executable: '',
    env,
    manifest: [
      `capabilities = ${JSON.stringify(CAPABILITIES)}`,
      `limits = { cpu_percent = ${cpuPercent}, memory_mb = ${memoryMb} }`,
      'restart = { policy = "never" }',
    ].join('\n'),
  });
  const modules = {
    flood: module({ TARGET: HEALTHY[0] }, 100, 4_096),
    [HEALTHY[0]]: module({ PEER: HEALTHY[1] }, 50),
    [HEALTHY[1]]: module({ PEER: HEALTHY[0] }, 50),
  };
  const rig = await createSpawnedHost(modules);
  for (const name of Object.keys(modules)) {
    copyFileSync(join(build, name === 'flood' ? 'flood' : 'healthy'), join(rig.modulesDir, name, name));
  }
  rmSync(build, { recursive: true, force: true });
  const file = (name: string, of: string): string => join(rig.dir, 'd', 'modules', name, of);
  const status = (name: string): ModuleStatus => {
    const found = rig.host.list().find((module) => module.name === name);
    if (found === undefined) throw new Error(`no module ${name}`);
    return found;
  };
  for (const name of Object.keys(modules)) await rig.host.load(name);
  // only what is new is read each time: the host under test has its loop in this process
  const told = new Map<string, { bytes: number; lines: Told[] }>();
  return {
    ...rig,
    status,
    toldBy(name) {
      const path = file(name, 'told.jsonl');
      const known = told.get(name) ?? { bytes: 0, lines: [] };
      told.set(name, known);
      if (!existsSync(path)) return known.lines;
      const descriptor = openSync(path, 'r');
      const fresh = Buffer.alloc(fstatSync(descriptor).size - known.bytes);
      readSync(descriptor, fresh, 0, fresh.length, known.bytes);
      closeSync(descriptor);
      const whole = fresh.subarray(0, fresh.lastIndexOf(10) + 1);
      known.bytes += whole.length;
      for (const line of whole.toString().split('\n').slice(0, -1)) known.lines.push(JSON.parse(line) as Told);
      return known.lines;
    },
    order(name, words) {
      // the module may look at any moment: it finds all of it or nothing
      const made = join(rig.dir, `${name}.orders`);
      writeFileSync(made, `${words}\n`, { mode: 0o644 });
      renameSync(made, file(name, 'orders'));
    },
  };
}

/** The p99 of calls that began within a time, milliseconds. */
export function p99(told: readonly Told[], fromMs: number, toMs: number): number {
  const took = told
    .flatMap(({ kind, at, ms }) => (kind === 'took' && at !== undefined && at >= fromMs && at < toMs ? [ms ?? 0] : []))
    .sort((a, b) => a - b);
  return took[Math.floor(took.length * 0.99)] ?? Number.POSITIVE_INFINITY;
}

/** Waits until both healthy modules have called, and heard each other. */
export async function untilHealthy(rig: FloodedHost): Promise<void> {
  const works = (name: string): boolean =>
    ['took', 'heard'].every((wanted) => rig.toldBy(name).some(({ kind }) => kind === wanted));
  await until('the healthy modules to work', () => HEALTHY.every(works), 30_000);
}
