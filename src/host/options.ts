import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { DevchainAct } from '../admin/host-control.js';
import { HostError } from '../contract/error.js';
import { parseSandboxMinimum, type SandboxMinimum } from '../contract/guarantee.js';
import type { Permission } from '../contract/permission.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import type { NetworkTable } from '../manifest/operator.js';
import type { SecretSource } from '../manifest/operator-schema.js';
import type { NameResolver } from '../network/resolver.js';
import type { NodeApi } from '../node/node-api.js';
import type { RestartTimes } from '../process/restart.js';
import type { SomeLimits } from '../sandbox/limits.js';
import { frontDoorSettings } from './front-door.js';
import { networkPolicy } from './network-policy.js';
import type { Providers } from './providers.js';

/** What the operator says of one module; every key is optional. */
export interface ModuleSettings {
  /** False keeps autoLoad from starting it. Default true. */
  enabled?: boolean;
  /** `spawn`: the host starts and confines it. `external`: somebody else starts it. Default `spawn`. */
  run?: 'spawn' | 'external';
  /** True lets it run without verified signatures. Shown in every status. */
  unsigned?: boolean;
  /** Directory with its module.toml; default `<modulesDir>/<name>`. */
  path?: string;
  /** Permissions granted, out of those that the manifest asks for; default all of them. */
  grants?: readonly Permission[];
  /** Limits instead of the manifest's, not above the host's caps. */
  limits?: SomeLimits;
  /** Values for the manifest's `[config]`. */
  config?: Readonly<Record<string, unknown>>;
  /** Where values lie that the manifest calls secret: a file, or a variable of `env`. */
  secrets?: Readonly<Record<string, SecretSource>>;
  /** Further directories that its sandbox shows, read-only. */
  extraReadOnly?: readonly string[];
  /** What it may do on the network, each thing where its manifest asks for it; `true`: all of that. Default nothing. */
  network?: ModuleNetworkSettings;
  /** Modules that may call it, out of those that it and its manifest allow. Default all of those. */
  allowedCallers?: readonly string[];
}

/** Grants of one module; `true` covers no address that is not public, such a one has to be listed. */
export type ModuleNetworkSettings = boolean | NetworkTable;

/** What the operator's file says now, in place of what the host was started with. */
export interface ModulesReading {
  readonly modules: Readonly<Record<string, ModuleSettings>>;
  /** Paths of keys that concern the host and differ from what it was started with, sorted. */
  readonly needsRestart: readonly string[];
}

/** How the host reaches the network for its modules. */
export interface NetworkSettings {
  /** SOCKS5 proxy, `host:port`, Tor's for example: it carries everything that modules send. */
  proxy?: string;
  /** Only onion services are reached. */
  onlynet?: 'onion';
}

/** The JSON-RPC front door. */
export interface RpcSettings {
  /** Default true: who gives settings wants it. */
  enabled?: boolean;
  /** Address of this machine's loopback that it listens on, `127.0.0.1` or `::1`; default `127.0.0.1`. */
  address?: string;
  /** Default 0: any free one. */
  port?: number;
  /** Methods that are handed on to the node as they are, each by its name; default none. */
  passthrough?: readonly string[];
  /** Where the password for this run is written; default `<dataDir>/.cookie`. */
  cookieFile?: string;
  /** Further users, each as bitcoind's `-rpcauth` has them: `user:salt$hmac`. */
  rpcauth?: readonly string[];
  /** False: a port that is taken leaves the door closed, with a warning, where it would fail the start. Default true. */
  required?: boolean;
  /** True asks for the password on /metrics, /healthz and /readyz as well. */
  metricsAuth?: boolean;
}

/** What a host is made of. */
export interface HostOptions {
  /** Each directory below with a module.toml is a module. */
  modulesDir: string;
  /** Data of host and modules; belongs to one host. */
  dataDir: string;
  /** Sockets; belongs to one host. Keep the path short, see SOCKET_PATH_TOO_LONG. */
  socketDir: string;
  node: NodeApi;
  /** Control of the embedded devchain, where that is the node. */
  devchain?: DevchainAct;
  modules?: Readonly<Record<string, ModuleSettings>>;
  /** Reads `modules` anew, for `config apply`; absent where there is no file. @throws HostError BAD_CONFIG */
  readModules?: () => ModulesReading | Promise<ModulesReading>;
  /** Where secrets are looked up by name. Default the environment of this process; modules never see it. */
  env?: NodeJS.ProcessEnv;
  /** Names of modules that may run without verified signatures. */
  allowUnsigned?: readonly string[];
  /** Least containment under which a module may run; default `confined`. A module below it is refused, the host runs. */
  sandboxMinimum?: SandboxMinimum;
  /** Caps over what manifests ask. */
  limits?: SomeLimits;
  network?: NetworkSettings;
  /** Which module answers the Lightning, the payment and the governance service for all others. Default the node. */
  providers?: Providers;
  /** The JSON-RPC front door; default closed. */
  rpc?: RpcSettings;
  /** Turns the names that modules may reach into addresses; default what this machine knows. */
  resolver?: NameResolver;
  /** Waits between the restarts of a module that crashes; default 1 s, doubled up to 60 s, anew after 60 s of health. */
  restartTimes?: Partial<RestartTimes>;
  /**
   * Controllers that the host leaves alone in control groups, for example `memory`, because somebody else works with them.
   * The limits that they would hold are watched instead.
   */
  withoutControllers?: readonly string[];
  /** Interpreters by the word that manifests use, for example `python` -> `/usr/bin/python3`. */
  interpreters?: Readonly<Record<string, string>>;
  /** Calls of all modules in flight to the node; default what the node's adapter says. */
  maxNodeCalls?: number;
  /** Plain calls per second of each module, by weight. Default 1,000. */
  callsPerSecond?: number;
  /** Path of the operator's file, for the status. */
  configFile?: string;
  /**
   * Directory, the host's own, in which log and audit are kept, per module and of bounded size; what modules write goes there
   * and not to `logger`. Default none: everything goes to `logger`, and the audit is remembered as long as the host runs.
   */
  logDir?: string;
  logger?: Logger;
  clock?: Clock;
  /** Calls in place of an orderly stop by an admin request; the daemon ends its process there. */
  onStopRequested?: (timeoutMs: number) => void;
}

/** Names that appear in options and exist nowhere are told, not ignored. */
export function assertOptions(options: HostOptions): void {
  for (const key of ['modulesDir', 'dataDir', 'socketDir'] as const) {
    if (typeof options[key] !== 'string' || options[key] === '') {
      throw new HostError('BAD_CONFIG', `${key} must name a directory`, { details: { key } });
    }
  }
  const minimum = options.sandboxMinimum === undefined ? 'none' : parseSandboxMinimum(options.sandboxMinimum);
  if (typeof minimum === 'object' && 'refused' in minimum) {
    throw new HostError('BAD_CONFIG', `sandboxMinimum ${minimum.refused}`, { details: { key: 'sandboxMinimum' } });
  }
  networkPolicy(options.network);
  frontDoorSettings(options);
  if (options.maxNodeCalls !== undefined && !(options.maxNodeCalls >= 1)) {
    throw new HostError('BAD_CONFIG', 'maxNodeCalls must be at least 1', { details: { key: 'maxNodeCalls' } });
  }
  if (options.callsPerSecond !== undefined && !(options.callsPerSecond >= 1)) {
    throw new HostError('BAD_CONFIG', 'callsPerSecond must be at least 1', { details: { key: 'callsPerSecond' } });
  }
}

/** The options with their directories absolute and free of links, as the sandbox and the socket's length need them. */
export function withRealDirectories(options: HostOptions): HostOptions {
  return {
    ...options,
    modulesDir: realPath(options.modulesDir),
    dataDir: realPath(options.dataDir),
    ...(options.logDir === undefined ? {} : { logDir: realPath(options.logDir) }),
    // where it stands, not where it leads: a run directory that is a link is refused
    socketDir: join(realPath(dirname(resolve(options.socketDir))), basename(resolve(options.socketDir))),
  };
}

/** Real path of what exists, with the rest of the path behind it: a directory may be about to be made. */
function realPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync(absolute);
  } catch {
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(realPath(parent), basename(absolute));
  }
}
