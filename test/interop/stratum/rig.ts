/** A real btcd, a real host and the module in its sandbox, with its two ports open on loopback. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { LogLevel } from '../../../gen/ts/modhost/v1/log.js';
import { ModuleState } from '../../../gen/ts/modhost/v1/module_state.js';
import { HostError } from '../../../src/contract/error.js';
import { createSystemClock } from '../../../src/core/clock.js';
import { createSilentLogger } from '../../../src/core/logger.js';
import { createHost, type Host } from '../../../src/host/host.js';
import type { HostOptions, ModuleSettings } from '../../../src/host/options.js';
import { createBtcdNode } from '../../../src/node/btcd/node.js';
import type { NodeApi } from '../../../src/node/node-api.js';
import { type Btcd, startBtcd } from '../btcd.js';
import { freePort } from '../free-port.js';
import { createWallet, type Wallet } from '../wallet.js';
import { modulePath, WORKSPACE } from './apps.js';

/** Name of the module. */
export const MODULE = 'stratum-v2';
/** What the module writes into coinbases here. */
export const TAG = 'modhost interop';
/** Blocks before the tests: enough for witnesses to be in force on btcd's regtest (BIP 9, three windows of 144). */
const BLOCKS = 450;
/** Longest wait for something that takes a moment, milliseconds. */
const PATIENCE_MS = 30_000;
/** Times that ports are chosen before it is given up. */
const PORT_ATTEMPTS = 3;
/** Pause between two looks, milliseconds. */
const POLL_MS = 25;

/** Settings of a module that nobody starts. */
const EXTERNAL: ModuleSettings = { run: 'external', unsigned: true };

/** What a rig is made of beside what all have in common. */
export interface RigOptions {
  /** Values of the module's configuration above the usual ones. */
  config?: Readonly<Record<string, unknown>>;
  /** Modules that the test itself speaks for. */
  external?: readonly string[];
  /** Writes further modules into the modules directory. */
  writeModules?: (modulesDir: string) => void;
  host?: Partial<HostOptions>;
  /** Stands between the adapter and the host. */
  wrapNode?: (node: NodeApi) => NodeApi;
}

/** All of it, running. */
export interface Rig {
  dir: string;
  btcd: Btcd;
  wallet: Wallet;
  host: Host;
  poolPort: number;
  templatePort: number;
  /** Public key of the module's authority, as miners write it. */
  authority: string;
  /** One JSON-RPC call at the host's front door; rejects with its error. */
  call<T = unknown>(method: string, params?: readonly unknown[]): Promise<T>;
  /** A command of the module, as `modhost cli stratum-v2 ...` runs it, its output parsed as JSON. */
  command<T = unknown>(...words: string[]): Promise<T>;
  /** Text of `/metrics`. */
  metrics(): Promise<string>;
  /** Process of the module's program. */
  pid(): number;
  /** Waits until the module is ready, by a process other than `not`. */
  ready(not?: number): Promise<void>;
  dispose(): Promise<void>;
}

/** Starts everything and waits until the module is ready. */
export async function startRig(options: RigOptions = {}): Promise<Rig> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await assemble(options);
    } catch (error) {
      // A port that was free when it was chosen may be somebody else's when the host opens it.
      const isTaken = error instanceof HostError && error.reason === 'NETWORK_UNAVAILABLE';
      if (!isTaken || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

async function assemble(options: RigOptions): Promise<Rig> {
  const dir = mkdtempSync(join(tmpdir(), 'sv-'));
  // the module's own user passes through
  await chmod(dir, 0o711);
  const wallet = createWallet(new Uint8Array(32).fill(21));
  const btcd = await startBtcd({ dir, miningAddress: wallet.address });
  await btcd.rpc('generate', [BLOCKS]);
  const adapter = createBtcdNode(
    {
      ...{ url: btcd.url, user: btcd.user, password: btcd.pass, tls: false },
      ...{ network: 'regtest', websocket: true, maxCallsInFlight: 2 },
    },
    { clock: createSystemClock(), logger: createSilentLogger(), random: Math.random },
  );
  const [poolPort, templatePort] = [await freePort(), await freePort()];
  options.writeModules?.(join(dir, 'm'));
  const host = createHost({
    modulesDir: join(dir, 'm'),
    dataDir: join(dir, 'd'),
    socketDir: join(dir, 's'),
    node: options.wrapNode?.(adapter) ?? adapter,
    modules: {
      [MODULE]: {
        path: copyModule(dir, [poolPort, templatePort]),
        unsigned: true,
        network: { inbound: [poolPort, templatePort].map((port) => ({ port, address: '127.0.0.1' })) },
        config: {
          payout: wallet.address,
          coinbase_tag: TAG,
          pool_port: poolPort,
          template_port: templatePort,
          shares_per_minute: 60,
          min_hashrate: 1,
          ...options.config,
        },
      },
      ...Object.fromEntries(options.external?.map((name) => [name, EXTERNAL] as const) ?? []),
    },
    rpc: {},
    sandboxMinimum: process.getuid?.() === 0 ? 'full' : 'confined',
    ...options.host,
  });
  const dispose = async (): Promise<void> => {
    await host.stop();
    await btcd.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await host.start();
    const failed = (await host.autoLoad()).find(({ error }) => error !== undefined);
    if (failed?.error !== undefined) throw failed.error;
    const { host: facts } = await host.control.status(new AbortController().signal);
    const door = { url: facts?.rpcUrl ?? '', cookie: readFileSync(facts?.rpcCookieFile ?? '', 'utf8').trim() };
    const authorization = `Basic ${Buffer.from(door.cookie).toString('base64')}`;

    const call: Rig['call'] = async <T>(method: string, params: readonly unknown[] = []) => {
      const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
      const response = await fetch(door.url, { method: 'POST', body, headers: { authorization } });
      const answer = (await response.json()) as { result?: T; error?: { code: number; message: string } };
      if (answer.error !== undefined) throw new Error(`${method}: ${answer.error.code} ${answer.error.message}`);
      return answer.result as T;
    };
    const command: Rig['command'] = async <T>(...words: string[]) => {
      const answer = await call<{ stdout: string; stderr: string; exit_code: number }>('runmodulecli', [
        MODULE,
        ...words,
      ]);
      if (answer.exit_code !== 0) throw new Error(`${words.join(' ')}: ${answer.exit_code} ${answer.stderr}`);
      return JSON.parse(answer.stdout) as T;
    };
    const one = () => host.list().find(({ name }) => name === MODULE);
    const pid = (): number => Number(one()?.pid ?? 0);
    const ready: Rig['ready'] = async (not) => {
      const end = Date.now() + PATIENCE_MS;
      while (pid() === 0 || pid() === not || one()?.state !== ModuleState.RUNNING) {
        // whoever crashes often is held until the operator says otherwise
        if (one()?.state === ModuleState.QUARANTINED) await host.load(MODULE);
        if (Date.now() > end) throw new Error(`the module is not ready: ${JSON.stringify(one()?.state)}`);
        await sleep(POLL_MS);
      }
    };
    await ready();
    const authority = await authorityOf(host);
    const metrics = async () => await (await fetch(new URL('/metrics', door.url))).text();
    return { dir, btcd, wallet, host, poolPort, templatePort, authority, call, command, metrics, pid, ready, dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Public key of the module's authority: it tells it when it begins to serve. */
async function authorityOf(host: Host): Promise<string> {
  const filter = { modules: [MODULE], minLevel: LogLevel.UNSPECIFIED, tail: 1_000, follow: true };
  for await (const { lines } of host.control.logs(filter, AbortSignal.timeout(PATIENCE_MS))) {
    const key = lines.flatMap(({ fields }) => fields).find((field) => field.key === 'authority_public_key');
    if (key !== undefined) return key.value;
  }
  throw new Error('the module told no authority');
}

/** The module as it is released, but at ports that are free here: a manifest names its ports. */
function copyModule(dir: string, ports: readonly number[]): string {
  const folder = join(dir, 'm', MODULE);
  mkdirSync(join(folder, 'build'), { recursive: true });
  copyFileSync(modulePath(), join(folder, 'build', MODULE));
  const manifest = readFileSync(join(WORKSPACE, 'module.toml'), 'utf8');
  writeFileSync(join(folder, 'module.toml'), manifest.replace(/^inbound = .*$/m, `inbound = [${ports.join(', ')}]`));
  return folder;
}

/** Waits until something asked again and again holds; gives the value that did. */
export async function eventually<T>(what: string, look: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const value = await look();
    if (holds(value)) return value;
    if (Date.now() > end)
      throw new Error(`waited ${PATIENCE_MS} ms for ${what}; last seen ${inspect(value, { depth: 1 })}`);
    await sleep(POLL_MS);
  }
}
