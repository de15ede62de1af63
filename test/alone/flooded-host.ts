import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ListModulesResponse } from '../../gen/ts/modhost/admin/v1/admin.js';
import type { ModuleStatus } from '../../gen/ts/modhost/admin/v1/status.js';
import { callUnary, createAdminClient } from '../../src/client/admin-client.js';
import { buildGo } from '../go/build.js';
import { makeDirectory, until } from '../host/spawned-host.js';
import { compileProduct } from './compiled-product.js';

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

/** What of the host's machine a rig may choose. */
export interface FloodOptions {
  /** Limits of the module that floods, as its manifest asks for them; by default it asks for nothing, and has the defaults. */
  readonly limits?: string;
  /** Further arguments of the Node that runs the host. */
  readonly nodeArguments?: readonly string[];
}

/** A host of the command line, in a process of its own, with a module that floods and two that do a little of everything. */
export interface FloodedHost {
  /** The host's process. */
  readonly pid: number;
  /** What a module has told so far, in its order. */
  toldBy(module: string): Told[];
  /** Has a module do something: `on KIND` and `off` for the one that floods, `rest` and `check` for the others. */
  order(module: string, words: string): void;
  status(module: string): Promise<ModuleStatus>;
  /** Lines of a module in the host's log, by their text. */
  lines(module: string): string[];
  /** Memory of the host's process, MiB. */
  rssMb(): number;
  unload(module: string): Promise<void>;
  /** Directories of spawns that exist now. */
  spawnDirectories(): string[];
  dispose(): Promise<void>;
}

/** The two healthy modules; each hears what the other publishes, and the first is the one whose API is flooded. */
export const HEALTHY = ['healthy-a', 'healthy-b'] as const;

const CAPABILITIES = [
  ...['subscribe_events', 'publish_events', 'read_storage', 'write_storage', 'manage_storage', 'manage_timers'],
  ...['report_metrics', 'read_metrics', 'call_module', 'register_module_api', 'read_filesystem', 'write_filesystem'],
];

/** Builds the modules, and runs a host with all three. */
export async function createFloodedHost(options: FloodOptions = {}): Promise<FloodedHost> {
  const dir = makeDirectory();
  const modules: Readonly<Record<string, string>> = {
    flood: HEALTHY[0],
    [HEALTHY[0]]: HEALTHY[1],
    [HEALTHY[1]]: HEALTHY[0],
  };
  const build = mkdtempSync(join(tmpdir(), 'mf-'));
  await buildGo(build, 'flood', 'healthy');
  for (const [name, other] of Object.entries(modules)) {
    const at = join(dir, 'm', name);
    mkdirSync(at, { recursive: true, mode: 0o755 });
    copyFileSync(join(build, name === 'flood' ? 'flood' : 'healthy'), join(at, name));
    writeFileSync(
      join(at, 'module.toml'),
      [
        `name = "${name}"\nversion = "1.0.0"\ncapabilities = ${JSON.stringify(CAPABILITIES)}`,
        name === 'flood' && options.limits !== undefined ? `limits = { ${options.limits} }` : '',
        `restart = { policy = "never" }\n[run]\nenv = { OTHER = "${other}" }\n`,
      ].join('\n'),
    );
  }
  rmSync(build, { recursive: true, force: true });
  writeFileSync(
    join(dir, 'modhost.toml'),
    [
      '[node]\nkind = "devchain"\npersist = false',
      '[paths]\nmodules = "m"\ndata = "d"\nsockets = "s"',
      '[rpc]\nenabled = false\n[log]\nformat = "json"',
      ...Object.keys(modules).map((name) => `[modules.${name}]\nunsigned = true`),
      '',
    ].join('\n'),
  );
  const log = join(dir, 'log.jsonl');
  const program = await compileProduct(join(dir, 'p'));
  const child = run([...(options.nodeArguments ?? []), program, 'run', '--config', join(dir, 'modhost.toml')], log);
  const client = createAdminClient(join(dir, 's', 'admin.sock'));
  const status = async (name: string): Promise<ModuleStatus> => {
    const { modules: listed } = await callUnary<ListModulesResponse>((done) => client.admin.listModules({}, done));
    const found = listed.find((module) => module.name === name);
    if (found === undefined) throw new Error(`no module ${name}`);
    return found;
  };
  const fileOf = (name: string, of: string): string => join(dir, 'd', 'devchain', 'modules', name, of);
  // only what is new is read each time
  const told = new Map<string, { bytes: number; lines: Told[] }>();
  return {
    pid: child.pid ?? 0,
    status,
    toldBy(name) {
      const path = fileOf(name, 'told.jsonl');
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
      const made = join(dir, `${name}.orders`);
      writeFileSync(made, `${words}\n`, { mode: 0o644 });
      renameSync(made, fileOf(name, 'orders'));
    },
    lines: (name) =>
      readFileSync(log, 'utf8')
        .split('\n')
        .slice(0, -1)
        // most of it is of the module that floods
        .filter((line) => line.includes(`"${name}"`))
        .map((line) => JSON.parse(line) as { module?: string; msg: string })
        .flatMap(({ module, msg }) => (module === name ? [msg] : [])),
    rssMb: () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) >> 10,
    async unload(name) {
      await callUnary((done) => client.admin.unloadModule({ name, cascade: false }, done));
    },
    spawnDirectories: () => readdirSync(join(dir, 's')).filter((name) => /^[0-9a-f]{8}$|^x-/.test(name)),
    async dispose() {
      client.close();
      const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGTERM');
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Starts the host; its log goes to a file, as below a service manager. */
function run(words: readonly string[], log: string): ChildProcess {
  const out = openSync(log, 'w', 0o600);
  const child = spawn(process.execPath, words, { env: { PATH: process.env.PATH }, stdio: ['ignore', out, 'inherit'] });
  closeSync(out);
  return child;
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
  await until('the healthy modules to work', () => HEALTHY.every(works), 60_000);
}
