import { copyFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createAsker, createPlace, type Place, type Started, writeConfig } from '../../cli/command-line.js';
import { buildGo } from '../../go/build.js';
import { bundleModule } from '../../host/bundle-module.js';

const STUBS = fileURLToPath(new URL('../../../conformance/modules/python', import.meta.url));
/** How long something may take to happen on a busy machine, milliseconds. */
const PATIENCE_MS = 45_000;

/** One line that a module wrote down. */
export interface Told {
  kind?: string;
  order?: number;
  gave?: unknown;
  reason?: string;
  [fact: string]: unknown;
}

export const NAMES = ['kept-go', 'kept-py', 'kept-ts'] as const;
export type Name = (typeof NAMES)[number];

/** A host of the command line with a module in each of three languages. */
export interface KeptHost {
  readonly place: Place;
  readonly rpcUrl: string;
  /** `user:password` of the front door. */
  cookie(): string;
  /** Runs one command line against the host: a command, and what stands behind its options. */
  modhost(command: string, ...words: string[]): Promise<{ code: number | null; out: string; err: string }>;
  /** What a module has told so far. */
  told(name: Name): Told[];
  /** Waits until a module has told something of this form, and gives it. */
  tells(name: Name, what: string, found: (told: Told) => boolean): Promise<Told>;
  /** Has a module do something, and gives what it tells of it: `gave` or `reason`. */
  ask(name: Name, what: string, more?: Readonly<Record<string, unknown>>): Promise<Told>;
  /** The same, begun and not waited for. */
  begin(name: Name, what: string, more?: Readonly<Record<string, unknown>>): Promise<{ answer: Promise<Told> }>;
  /** Puts a file into a module's data directory, whole at once. */
  put(name: Name, file: string, text: string): void;
  /** Writes the operator's file anew. */
  configure(greeting: Readonly<Record<Name, string>>): void;
  /** Starts the host, and waits until all three modules are ready. */
  start(): Promise<Started>;
  dispose(): Promise<void>;
}

/** What each module asks for. */
const CAPABILITIES: Readonly<Record<Name, readonly string[]>> = {
  'kept-go': [
    ...['read_storage', 'write_storage', 'manage_storage', 'manage_timers', 'report_metrics', 'register_module_api'],
    ...['read_filesystem', 'write_filesystem', 'read_lightning'],
  ],
  'kept-py': [
    'call_module',
    'publish_events',
    'read_metrics',
    'read_filesystem',
    'register_rpc_endpoint',
    'register_module_api',
  ],
  'kept-ts': ['subscribe_events', 'register_rpc_endpoint', 'manage_timers', 'discover_modules'],
};

/** Builds the modules and writes the operator's file; nothing runs yet. */
export async function createKeptHost(port: number): Promise<KeptHost> {
  const place = createPlace();
  const hello = { 'kept-go': 'hello', 'kept-py': 'hello', 'kept-ts': 'hello' };
  const configure: KeptHost['configure'] = (greeting) =>
    writeConfig(
      place,
      [
        `[rpc]\nport = ${port}\n[providers]\nlightning = "kept-py"`,
        ...NAMES.map((name) => `[modules.${name}]\nunsigned = true\nconfig = { greeting = "${greeting[name]}" }`),
        // the table of the last one goes on
      ]
        .join('\n')
        .replace('[modules.kept-py]\n', `[modules.kept-py]\nextra_read_only = ["${STUBS}"]\n`),
    );
  configure(hello);
  const run: Readonly<Record<Name, string>> = {
    'kept-go': '',
    'kept-py': `command = ["python", "main.py"]\nenv = { STUBS = "${STUBS}" }`,
    'kept-ts': 'command = ["node", "main.mjs"]',
  };
  for (const name of NAMES) {
    const capabilities = JSON.stringify(CAPABILITIES[name]);
    place.write(
      `m/${name}/module.toml`,
      [
        `name = "${name}"\nversion = "1.0.0"\ncapabilities = ${capabilities}`,
        '[config]\ngreeting = { type = "string", default = "none" }',
        ...(run[name] === '' ? [] : [`[run]\n${run[name]}`]),
        '',
      ].join('\n'),
    );
  }
  const made = mkdtempSync(join(tmpdir(), 'mk-'));
  await buildGo(made, 'kept');
  copyFileSync(join(made, 'kept'), join(place.dir, 'm/kept-go/kept-go'));
  rmSync(made, { recursive: true, force: true });
  copyFileSync(new URL('./main.py', import.meta.url), join(place.dir, 'm/kept-py/main.py'));
  await bundleModule(new URL('./main.ts', import.meta.url), join(place.dir, 'm/kept-ts/main.mjs'));

  const dataDir = join(place.dir, 'd', 'devchain');
  const file = (name: Name, of: string): string => join(dataDir, 'modules', name, of);
  const told: KeptHost['told'] = (name) => {
    const path = file(name, 'told.jsonl');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Told);
  };
  const poll = async <T>(what: string, look: () => T | undefined): Promise<T> => {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (Date.now() > end || over)
        throw new Error(
          `waited ${PATIENCE_MS} ms for: ${what}; the host said:\n${host?.out().slice(-4_000)}${host?.err()}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const tells: KeptHost['tells'] = (name, what, found) => poll(`${name}: ${what}`, () => told(name).find(found));
  const put: KeptHost['put'] = (name, path, text) => {
    // the module may look at any moment: it finds all of it or nothing
    const made = place.write(`${name}.${path}`, text);
    renameSync(made, file(name, path));
  };
  const ask = createAsker(place);
  let orders = 0;
  const begin: KeptHost['begin'] = async (name, what, more = {}) => {
    await poll(`${name} to take the order before`, () => (existsSync(file(name, 'orders')) ? undefined : true));
    orders += 1;
    const order = orders;
    put(name, 'orders', `${JSON.stringify({ order, do: what, ...more })}\n`);
    return { answer: tells(name, `the answer to ${what}`, (line) => line.order === order) };
  };
  let host: Started | undefined;
  let over = false;
  return {
    place,
    rpcUrl: `http://127.0.0.1:${port}/`,
    cookie: () => readFileSync(join(dataDir, '.cookie'), 'utf8').trim(),
    modhost: (command, ...words) => ask(...command.split(' '), '--config', join(place.dir, 'modhost.toml'), ...words),
    told,
    tells,
    put,
    configure,
    begin,
    async ask(name, what, more) {
      return (await begin(name, what, more)).answer;
    },
    async start() {
      const before = new Map(NAMES.map((name) => [name, told(name).length]));
      const started = place.start('run');
      [host, over] = [started, false];
      void started.ended.then(() => {
        over = host === started;
      });
      for (const name of NAMES) {
        await poll(`${name} to be ready`, () =>
          told(name)
            .slice(before.get(name))
            .find(({ kind }) => kind === 'ready'),
        );
      }
      return started;
    },
    dispose: () => place.dispose(),
  };
}
