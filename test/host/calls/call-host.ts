import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { credentials } from '@grpc/grpc-js';
import { ModuleServiceClient } from '../../../gen/ts/modhost/v1/module.js';
import type { HostOptions } from '../../../src/host/options.js';
import type { NodeApi } from '../../../src/node/node-api.js';
import { connect, type Module } from '../../../src/sdk/index.js';
import { builtExamples } from '../../story/chain-story.js';
import { requireToolchain } from '../../toolchain.js';
import { bundleModule } from '../bundle-module.js';
import { VERSION, writeExternalModule } from '../external-module.js';
import { createSpawnedHost, type SpawnedHost, type SpawnedModule } from '../spawned-host.js';

/** Where setup puts Python's packages and stubs. */
const STUBS = fileURLToPath(new URL('../../../conformance/modules/python', import.meta.url));
const PEER = readFileSync(new URL('./peer.py', import.meta.url), 'utf8');
const CALLER = ['call_module', 'discover_modules', 'register_module_api'];

/** What the test's own module may do. */
export const DRIVER = [
  ...CALLER,
  ...['read_chain_state', 'read_lightning', 'read_payment', 'read_governance', 'vote_governance'],
];

/** A real host with modules in Python and TypeScript, and one, `driver`, that the test itself is. */
export interface CallHost extends SpawnedHost {
  readonly driver: Module;
  /** The driver's calls without the SDK between. */
  readonly raw: ModuleServiceClient;
  /** Calls as the driver; the result as JSON. */
  ask(target: string, method: string, params?: unknown, timeoutMs?: number): Promise<Record<string, unknown>>;
  pid(module: string): number;
  violations(module: string): bigint;
  /** Words of a line that the module said, once it says one that begins so. */
  said(module: string, beginning: string): Promise<string[]>;
}

/** Whether the stubs of the Python example are there. */
export function stubsToolchain(): { skip: boolean } {
  const missing = builtExamples().find(({ missing: reason }) => reason !== undefined)?.missing;
  return requireToolchain(
    'the example modules',
    missing === undefined ? { available: true } : { available: false, reason: missing },
  );
}

/** A module of `peer.py`. */
export function pythonPeer(more: Partial<SpawnedModule> = {}): SpawnedModule {
  return {
    python: PEER,
    manifest: `capabilities = ${JSON.stringify([...CALLER, 'read_lightning', 'read_payment'])}\n`,
    ...more,
    env: { STUBS, ...more.env },
  };
}

export interface CallHostOptions {
  python: Readonly<Record<string, SpawnedModule>>;
  /** Names of modules of `peer.ts`. */
  typescript?: readonly string[];
  more?: Partial<HostOptions>;
  wrapNode?: (node: NodeApi) => NodeApi;
}

/** Makes and starts it; all modules but the driver are loaded by the test. */
export async function createCallHost({ python, typescript = [], more, wrapNode }: CallHostOptions): Promise<CallHost> {
  const scripts = typescript.map((name) => [
    name,
    { manifest: `capabilities = ${JSON.stringify(CALLER)}\n`, command: ['node', '/module/peer.mjs'] },
  ]);
  const shown = Object.fromEntries(
    Object.keys(python).map((name) => [name, { extraReadOnly: [STUBS], ...more?.modules?.[name] }]),
  );
  const rig = await createSpawnedHost(
    { ...python, ...Object.fromEntries(scripts) },
    {
      callsPerSecond: 100_000,
      ...more,
      modules: { ...more?.modules, ...shown, driver: { run: 'external', unsigned: true } },
    },
    wrapNode,
  );
  try {
    for (const name of typescript) {
      await bundleModule(new URL('./peer.ts', import.meta.url), join(rig.modulesDir, name, 'peer.mjs'));
    }
    writeExternalModule(rig.modulesDir, 'driver', DRIVER);
    await rig.host.load('driver');
    const place = join(rig.socketDir, 'x-driver');
    const driver = await connect({
      version: VERSION,
      env: {
        MODHOST_SOCKET: join(place, 'host.sock'),
        MODHOST_TOKEN_FILE: join(place, 'token'),
        MODHOST_MODULE_ID: 'driver',
        MODHOST_DATA_DIR: rig.dir,
      },
    });
    await driver.ready();
    const raw = new ModuleServiceClient(`unix:${join(place, 'host.sock')}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const statusOf = (name: string) => rig.host.list().find((module) => module.name === name);
    return {
      ...rig,
      driver,
      raw,
      async ask(target, method, params = {}, timeoutMs = 20_000) {
        const given = await driver.call(target, method, new TextEncoder().encode(JSON.stringify(params)), {
          timeoutMs,
        });
        return JSON.parse(new TextDecoder().decode(given)) as Record<string, unknown>;
      },
      pid: (name) => statusOf(name)?.pid ?? 0,
      violations: (name) => statusOf(name)?.counters?.violations ?? 0n,
      async said(name, beginning) {
        const find = () => rig.lines(name).find(({ message }) => message.startsWith(beginning));
        const end = Date.now() + 15_000;
        for (let line = find(); ; line = find()) {
          if (line !== undefined) return line.message.split(' ');
          if (Date.now() > end) throw new Error(`${name} did not say ${beginning}`);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      },
      async dispose() {
        raw.close();
        await driver.close();
        await rig.dispose();
      },
    };
  } catch (error) {
    await rig.dispose();
    throw error;
  }
}
