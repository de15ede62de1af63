import { resolve } from 'node:path';
import type { z } from 'zod';
import { HostError } from '../contract/error.js';
import type { SandboxMinimum } from '../contract/guarantee.js';
import type { Permission } from '../contract/permission.js';
import { printable } from '../core/printable.js';
import { isTable, orList } from './field.js';
import { limitsOf } from './limits-table.js';
import { locate, type PathStep } from './locate.js';
import type { AskedLimits } from './manifest.js';
import { NOT_YET_SERVED, type OperatorDocument, operatorSchema, type SecretSource } from './operator-schema.js';
import { parseToml, positionOf } from './text.js';

/** Kinds of node that a host can stand on. */
export const NODE_KINDS = ['devchain', 'bitcoind', 'btcd'] as const;

/** One of them. */
export type NodeKind = (typeof NODE_KINDS)[number];

/** `[modules.NAME]`: what the operator says of one module. Paths are absolute. */
export interface ModuleTable {
  enabled?: boolean;
  run?: 'spawn' | 'external';
  unsigned?: boolean;
  path?: string;
  grants?: readonly Permission[];
  limits?: AskedLimits;
  /** Values for the manifest's `[config]`, unchecked. */
  config?: Readonly<Record<string, unknown>>;
  /** Where the values of secret configuration keys lie; files are absolute paths. */
  secrets?: Readonly<Record<string, SecretSource>>;
  extraReadOnly?: readonly string[];
  /** What it may do on the network: all that its manifest asks, or this. Absent = nothing. */
  network?: boolean | NetworkTable;
  /** Modules that may call it; the list narrows what it and its manifest allow. Absent = no word. */
  allowedCallers?: readonly string[];
}

/** `[modules.NAME.network]`: grants, each in force where the manifest asks for it. */
export interface NetworkTable {
  /** `host:port` */
  readonly outbound?: readonly string[];
  readonly outboundAny?: boolean;
  /** Without an address: at every address of this machine. */
  readonly inbound?: readonly { readonly port: number; readonly address?: string | undefined }[];
  readonly udp?: boolean;
  /** Those of `outbound` whose names may lead to private addresses. */
  readonly private?: readonly string[];
}

/** `[rpc]`: the JSON-RPC front door. Paths are absolute. */
export interface RpcTable {
  readonly enabled?: boolean;
  /** `127.0.0.1` or `::1`. */
  readonly address?: string;
  readonly port?: number;
  /** Methods that are handed on to the node, each by its name. */
  readonly passthrough?: readonly string[];
  readonly cookieFile?: string;
  /** `user:salt$hmac` each. */
  readonly rpcauth?: readonly string[];
  readonly metricsAuth?: boolean;
}

/** The operator's file, read and checked. What was not written is absent. */
export interface OperatorConfig {
  /** `[node]`; the keys beside `kind` are the adapter's, integers as numbers, unchecked. */
  readonly node: { readonly kind: NodeKind; readonly table: Readonly<Record<string, unknown>> } | undefined;
  /** Absolute paths. */
  readonly paths: { readonly modules?: string; readonly data?: string; readonly sockets?: string };
  readonly sandboxMinimum: SandboxMinimum | undefined;
  /** Caps over what manifests ask. */
  readonly limits: AskedLimits;
  /** `[network]`: a SOCKS5 proxy as `host:port` that carries what every module sends. */
  readonly network: { readonly proxy?: string; readonly onlynet?: 'onion' };
  readonly calls: { readonly perSecond: number | undefined; readonly nodeInFlight: number | undefined };
  /** Programs by the word that manifests use; absolute paths. */
  readonly interpreters: Readonly<Record<string, string>>;
  /** `[rpc]`: the JSON-RPC front door; undefined when the table is not there. */
  readonly rpc: RpcTable | undefined;
  /** `[providers]`: which module answers a service for all others. */
  readonly providers: { readonly lightning?: string; readonly payment?: string; readonly governance?: string };
  /** `[log]`; `dir` absolute. */
  readonly log: {
    readonly level: LogLevel | undefined;
    readonly format: LogFormat | undefined;
    readonly dir: string | undefined;
  };
  readonly modules: Readonly<Record<string, ModuleTable>>;
  /** Everything beside `[modules]` as it was written, so that two readings can be compared. */
  readonly written: Readonly<Record<string, unknown>>;
  /**
   * Refuses a key of the file at its place, for those who check the tables that this reader hands on.
   *
   * @throws HostError BAD_CONFIG, always
   */
  readonly fail: (path: readonly PropertyKey[], text: string) => never;
}

/** Levels of the host's log, the least serious first. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;

/** One of them. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** `auto`: for people on a terminal, else JSON. */
export type LogFormat = 'auto' | 'json' | 'pretty';

/** Longest message, characters: keys may be as long as the file. */
const MAX_MESSAGE_CHARS = 512;

/** Where a file lies. */
export interface OperatorFileOptions {
  /** Directory that relative paths start from: the file's own. */
  baseDir: string;
  /** Name of the file in messages. */
  file?: string;
}

/**
 * Reads the operator's file, strictly: a key that is not known or not acted on is an error, as it would otherwise be a
 * limit that the operator believes in and nobody holds. No message carries a value: it may be a secret.
 *
 * @throws HostError BAD_CONFIG with `line`, `column` and `path` in details
 * @see    design, "The operator's file"
 */
export function parseOperatorFile(bytes: Uint8Array, options: OperatorFileOptions): OperatorConfig {
  const { baseDir, file = 'modhost.toml' } = options;
  const { document, source } = readToml(bytes, file);
  const fail = (path: readonly PathStep[], text: string): never => {
    const { line, column } = positionOf(source, locate(source, path));
    const name = printable(path.map(String).join('.'));
    throw new HostError('BAD_CONFIG', `${file}, line ${line}: ${name} ${text}`.slice(0, MAX_MESSAGE_CHARS), {
      details: { line, column, path: name.slice(0, MAX_MESSAGE_CHARS) },
    });
  };
  assertServed(document, fail);
  assertNoDecimals(document, fail);
  const read = operatorSchema().safeParse(document);
  if (!read.success) return failOn(read.error, fail);
  const { modules: _, ...written } = document;
  return { ...build(read.data, baseDir, fail), written };
}

type Fail = (path: readonly PathStep[], text: string) => never;

/** Syntax errors are the manifest's in form; to the operator they are a broken configuration. */
function readToml(bytes: Uint8Array, file: string): { document: Record<string, unknown>; source: string } {
  try {
    return parseToml(bytes, file);
  } catch (error) {
    const { message, details } = HostError.from(error);
    throw new HostError('BAD_CONFIG', message, { details, cause: error });
  }
}

function assertServed(document: Record<string, unknown>, fail: Fail): void {
  for (const pattern of NOT_YET_SERVED) {
    for (const path of matches(document, pattern))
      fail(path, 'is not yet served by this version of modhost; remove it');
  }
}

function matches(value: unknown, [step, ...rest]: readonly string[]): string[][] {
  if (!isTable(value) || step === undefined) return [];
  const keys = step === '*' ? Object.keys(value) : Object.keys(value).filter((key) => key === step);
  if (rest.length === 0) return keys.map((key) => [key]);
  return keys.flatMap((key) => matches(value[key], rest).map((path) => [key, ...path]));
}

/** Nothing in the file is a fraction or a date; `1.0` where 1 is meant is told, not rounded. */
function assertNoDecimals(value: unknown, fail: Fail, path: readonly PathStep[] = []): void {
  if (typeof value === 'number') fail(path, 'must be a whole number, without a decimal point');
  if (value instanceof Date) fail(path, 'must not be a date');
  if (Array.isArray(value)) for (const [i, item] of value.entries()) assertNoDecimals(item, fail, [...path, i]);
  else if (isTable(value))
    for (const [key, item] of Object.entries(value)) assertNoDecimals(item, fail, [...path, key]);
}

function failOn(error: z.ZodError, fail: Fail): never {
  const [issue] = error.issues;
  if (issue === undefined) throw new HostError('INTERNAL', 'a configuration was refused without a reason');
  if (issue.code === 'unrecognized_keys') return fail([...issue.path, ...issue.keys.slice(0, 1)], issue.message);
  return fail(issue.path, issue.message);
}

function build(document: OperatorDocument, baseDir: string, fail: Fail): Omit<OperatorConfig, 'written'> {
  const { paths, modules, interpreters } = document;
  const absolute = (path: string): string => resolve(baseDir, path);
  return {
    node: nodeOf(document.node, fail),
    paths: withoutUndefined({
      modules: paths?.modules === undefined ? undefined : absolute(paths.modules),
      data: paths?.data === undefined ? undefined : absolute(paths.data),
      sockets: paths?.sockets === undefined ? undefined : absolute(paths.sockets),
    }),
    sandboxMinimum: document.sandbox?.minimum,
    limits: limitsOf(document.limits),
    network: withoutUndefined({ proxy: document.network?.proxy, onlynet: document.network?.onlynet }),
    calls: { perSecond: document.calls?.per_second, nodeInFlight: document.calls?.node_in_flight },
    interpreters: Object.fromEntries([...(interpreters ?? [])].map(([name, path]) => [name, absolute(path)])),
    rpc: document.rpc === undefined ? undefined : rpcTableOf(document.rpc, absolute),
    providers: withoutUndefined({
      lightning: document.providers?.lightning,
      payment: document.providers?.payment,
      governance: document.providers?.governance,
    }),
    log: {
      level: document.log?.level,
      format: document.log?.format,
      dir: document.log?.dir === undefined ? undefined : absolute(document.log.dir),
    },
    modules: Object.fromEntries(
      [...(modules ?? [])].map(([name, written]) => [name, moduleTableOf(written, absolute)]),
    ),
    fail,
  };
}

type WrittenModule = NonNullable<OperatorDocument['modules']> extends ReadonlyMap<string, infer T> ? T : never;

function moduleTableOf(written: WrittenModule, absolute: (path: string) => string): ModuleTable {
  const { enabled, run, unsigned, grants, config, secrets, path, limits, extra_read_only, network, allowed_callers } =
    written;
  return withoutUndefined({
    enabled,
    run,
    unsigned,
    grants,
    config,
    secrets: secrets === undefined ? undefined : secretsOf(secrets, absolute),
    path: path === undefined ? undefined : absolute(path),
    limits: limits === undefined ? undefined : limitsOf(limits),
    extraReadOnly: extra_read_only?.map(absolute),
    network: typeof network === 'object' ? networkTableOf(network) : network,
    allowedCallers: allowed_callers,
  });
}

function rpcTableOf(
  { cookie_file, metrics_auth, ...same }: NonNullable<OperatorDocument['rpc']>,
  absolute: (path: string) => string,
): RpcTable {
  const cookieFile = cookie_file === undefined ? undefined : absolute(cookie_file);
  return withoutUndefined({ ...same, cookieFile, metricsAuth: metrics_auth });
}

function secretsOf(
  written: ReadonlyMap<string, SecretSource>,
  absolute: (path: string) => string,
): Readonly<Record<string, SecretSource>> {
  return Object.fromEntries(
    [...written].map(([key, source]) => [key, 'file' in source ? { file: absolute(source.file) } : source]),
  );
}

function networkTableOf({
  outbound,
  outbound_any,
  inbound,
  udp,
  private: marked,
}: Exclude<WrittenModule['network'], boolean | undefined>): NetworkTable {
  return withoutUndefined({ outbound, outboundAny: outbound_any, inbound, udp, private: marked });
}

function nodeOf(written: Record<string, unknown> | undefined, fail: Fail): OperatorConfig['node'] {
  if (written === undefined) return undefined;
  const { kind: asked, ...rest } = written;
  const kind = NODE_KINDS.find((known) => known === asked);
  if (kind === undefined)
    return fail(asked === undefined ? ['node'] : ['node', 'kind'], `needs kind = ${orList(NODE_KINDS)}`);
  return { kind, table: plainNumbers(rest) as Record<string, unknown> };
}

/** Integers as numbers: adapters have no key whose value could pass 2^53. */
function plainNumbers(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plainNumbers);
  if (!isTable(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainNumbers(item)]));
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function withoutUndefined<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as Defined<T>;
}
