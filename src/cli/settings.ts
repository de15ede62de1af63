import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { HostError } from '../contract/error.js';
import { DEFAULT_SANDBOX_MINIMUM, type SandboxMinimum } from '../contract/guarantee.js';
import { differingPaths } from '../core/differing-paths.js';
import { checkNodeTable, type NodeChoice } from '../host/open-node.js';
import type { ModulesReading } from '../host/options.js';
import {
  type LogFormat,
  type LogLevel,
  NODE_KINDS,
  type NodeKind,
  type OperatorConfig,
  parseOperatorFile,
} from '../manifest/operator.js';
import { defaultPlaces } from './places.js';

/** Where a host is to be found or to be put; flags and environment, already merged by the option parser. */
export interface PlaceFlags {
  config?: string;
  socketDir?: string;
  network?: string;
}

/** What `modhost run` may be told besides. */
export interface RunFlags extends PlaceFlags {
  node?: NodeKind;
  nodeUrl?: string;
  nodeUser?: string;
  nodeCookieFile?: string;
  blockInterval?: number;
  dataDir?: string;
  modulesDir?: string;
  allowUnsigned: string[];
  sandboxMinimum?: SandboxMinimum;
  logLevel?: LogLevel;
  logFormat?: LogFormat;
}

/** The operator's file, or what holds without one. */
export interface FoundConfig {
  config: OperatorConfig;
  /** Absolute path; undefined when there is none. */
  file: string | undefined;
}

/** Everything that a run needs to know. */
export interface RunSettings extends FoundConfig {
  node: NodeChoice;
  modulesDir: string;
  /** True when nobody named the modules' directory, so that it may be made. */
  ownModulesDir: boolean;
  dataDir: string;
  socketDir: string;
  /** True when nobody named the sockets' directory. */
  ownSocketDir: boolean;
  allowUnsigned: readonly string[];
  sandboxMinimum: SandboxMinimum;
  logLevel: LogLevel;
  logFormat: LogFormat;
  /** What the operator should be told about the settings themselves. */
  warnings: string[];
}

/**
 * Reads the operator's file: the one named, or that of the default place where there is one.
 *
 * @throws HostError BAD_CONFIG
 */
export function findConfig(named: string | undefined, env: NodeJS.ProcessEnv): FoundConfig {
  const usual = defaultPlaces(env).config;
  const file = named === undefined ? (existsSync(usual) ? usual : undefined) : resolve(named);
  if (file === undefined) return { config: parseOperatorFile(new Uint8Array(), { baseDir: '/' }), file };
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new HostError('BAD_CONFIG', `${file} cannot be read: ${(cause as Error).message}`, { cause });
  }
  return { config: parseOperatorFile(bytes, { baseDir: dirname(file), file }), file };
}

/**
 * Reads the file of a running host anew.
 *
 * @param before what the host was started with
 * @throws HostError BAD_CONFIG
 */
export function readAgain({ config: before, file }: FoundConfig & { file: string }): ModulesReading {
  const { config } = findConfig(file, {});
  const { node } = config;
  if (node !== undefined) checkNodeTable({ ...node, fail: (keys, text) => config.fail(['node', ...keys], text) });
  return { modules: config.modules, needsRestart: differingPaths(before.written, config.written) };
}

/**
 * Merges flags, environment and file into what a run does.
 *
 * @throws HostError BAD_CONFIG
 */
export function resolveRun(flags: RunFlags, env: NodeJS.ProcessEnv): RunSettings {
  const found = findConfig(flags.config, env);
  const { config } = found;
  const places = defaultPlaces(env);
  const node = chooseNode(flags, found, env);
  const network = node.kind === 'devchain' ? 'devchain' : String(node.table.network);
  const dataRoot = resolve(flags.dataDir ?? config.paths.data ?? places.data);
  const modulesDir = flags.modulesDir ?? config.paths.modules;
  const socketDir = flags.socketDir ?? config.paths.sockets;
  return {
    ...found,
    node,
    modulesDir: resolve(modulesDir ?? join(dataRoot, 'modules')),
    ownModulesDir: modulesDir === undefined,
    // what modules keep of one network means nothing, or worse, on another
    dataDir: join(dataRoot, network),
    socketDir: resolve(socketDir ?? join(places.sockets, network)),
    ownSocketDir: socketDir === undefined,
    allowUnsigned: flags.allowUnsigned,
    sandboxMinimum: flags.sandboxMinimum ?? config.sandboxMinimum ?? DEFAULT_SANDBOX_MINIMUM,
    logLevel: flags.logLevel ?? config.log.level ?? 'info',
    logFormat: flags.logFormat ?? config.log.format ?? 'auto',
    warnings: settingsWarnings(found),
  };
}

/** Keys of `[node]` that hold paths; like all paths of the file they start at the file. */
const NODE_PATH_KEYS = ['cookie_file', 'data_dir', 'tls_ca'] as const;

function chooseNode(flags: RunFlags, { config, file }: FoundConfig, env: NodeJS.ProcessEnv): NodeChoice {
  const kind = flags.node ?? config.node?.kind ?? 'devchain';
  // a table for another node than the one that was chosen says nothing about this one
  const written: Record<string, unknown> = config.node?.kind === kind ? { ...config.node.table } : {};
  for (const key of NODE_PATH_KEYS) {
    const path = written[key];
    if (typeof path === 'string' && file !== undefined) written[key] = resolve(dirname(file), path);
  }
  const given = new Map<string, { value: unknown; by: string }>();
  const give = (key: string, by: string, value: unknown): void => {
    if (value !== undefined) given.set(key, { value, by });
  };
  give('network', '--network', kind === 'devchain' ? undefined : flags.network);
  give('url', '--node-url', flags.nodeUrl);
  give('user', '--node-user', flags.nodeUser);
  // never a flag: everybody on the machine can read the arguments of a process
  give('password', 'MODHOST_NODE_PASSWORD', env.MODHOST_NODE_PASSWORD);
  give('cookie_file', '--node-cookie-file', flags.nodeCookieFile);
  give('block_interval_ms', '--block-interval', flags.blockInterval);
  const table: Record<string, unknown> = { ...written };
  for (const [key, { value }] of given) table[key] = value;
  // the directory is named for the network, so it is fixed before the node is asked; the node must then be on it
  if (kind !== 'devchain') table.network ??= 'main';
  return {
    kind,
    table,
    fail(path, text) {
      const flag = given.get(String(path[0]));
      if (flag !== undefined) throw new HostError('BAD_CONFIG', `${flag.by} ${text}`);
      if (config.node?.kind === kind) return config.fail(['node', ...path], text);
      throw new HostError(
        'BAD_CONFIG',
        `${['node', ...path].map(String).join('.')} ${text}: set it in [node] or by a flag`,
      );
    },
  };
}

function settingsWarnings({ config, file }: FoundConfig): string[] {
  if (file === undefined || config.node?.table.password === undefined) return [];
  const others = (statSync(file).mode & 0o044) !== 0;
  return others ? [`${file} holds the node's password and others can read it: chmod 600 ${file}`] : [];
}

/** The kind of node of a word, or undefined. */
export function nodeKindOf(word: string): NodeKind | undefined {
  return NODE_KINDS.find((kind) => kind === word);
}
