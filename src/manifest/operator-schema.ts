import { z } from 'zod';
import { parseSandboxMinimum } from '../contract/guarantee.js';
import { capabilityName, PERMISSIONS, permissionFromCapability } from '../contract/permission.js';
import { nearest } from '../core/nearest.js';
import { configKeyRefusal } from './config-schema.js';
import { boolean, field, integer, isTable, list, map, type Refusal, refuse, table, text, word } from './field.js';
import { limitsTable } from './limits-table.js';
import { hostAndPort, moduleName, nameRefusal } from './rules.js';

/** Most modules of one host that a file may name. */
const MAX_MODULES = 1_000;
/** Most entries of one list. */
const MAX_LIST = 256;
/** Most ports of one module; a manifest can ask for no more. */
const MAX_PORTS = 64;
/** Largest port. */
const MAX_PORT = 65_535;
/** PATH_MAX of Linux, bytes with the closing NUL. */
const MAX_PATH_CHARS = 4_095;
/** Name of an environment variable, at most what a shell shows well. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** More calls per second than a node and a host on one machine can answer. */
const MAX_CALLS_PER_SECOND = 1_000_000;
/** More workers than any node has. */
const MAX_NODE_CALLS = 64;

const path = () => text('BAD_VALUE', MAX_PATH_CHARS, 'a path without NUL', (value) => !value.includes('\0'));

const permission = () =>
  field((value) => {
    if (typeof value !== 'string') return refuse('BAD_VALUE', 'must be the name of a permission');
    const found = permissionFromCapability(value);
    if (found !== undefined) return found;
    const near = nearest(value, PERMISSIONS.map(capabilityName));
    return refuse('BAD_VALUE', near === undefined ? 'is no permission' : `is no permission; did you mean '${near}'?`);
  });

const sandboxMinimum = () =>
  field((value) => {
    const minimum = parseSandboxMinimum(value);
    return typeof minimum === 'object' && 'refused' in minimum ? refuse('BAD_VALUE', minimum.refused) : minimum;
  });

/** A table that somebody else reads: the node's adapter, or the module's own schema. */
const foreignTable = () => field((value) => (isTable(value) ? value : refuse('BAD_VALUE', 'must be a table')));

const interpreterRefusal = (name: string) =>
  /^[a-z][a-z0-9.+-]{0,31}$/.test(name)
    ? undefined
    : refuse('BAD_VALUE', "must be the short name of an interpreter, like 'python'");

const networkTable = () =>
  table({
    outbound: list(hostAndPort(), MAX_LIST).optional(),
    outbound_any: boolean().optional(),
    inbound: list(inboundPort(), MAX_PORTS).optional(),
    udp: boolean().optional(),
    private: list(hostAndPort(), MAX_LIST).optional(),
  });

/** `true` for all that the manifest asks, or a table with exactly what is granted. */
const networkGrants = () =>
  z.unknown().transform((value, context): boolean | z.output<ReturnType<typeof networkTable>> => {
    if (typeof value === 'boolean') return value;
    const read = networkTable().safeParse(value);
    if (read.success) return read.data;
    for (const issue of read.error.issues) context.issues.push(issue as z.core.$ZodRawIssue);
    return z.NEVER;
  });

/** A port, or `address:port` to be reachable at that address of this machine alone. */
const inboundPort = () =>
  field((value): { port: number; address: string | undefined } | Refusal => {
    if (typeof value === 'bigint' && value >= 1n && value <= MAX_PORT)
      return { port: Number(value), address: undefined };
    const match = typeof value === 'string' ? /^(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([1-9][0-9]{0,4})$/i.exec(value) : null;
    const port = Number(match?.[3]);
    return match !== null && port <= MAX_PORT
      ? { port, address: match[1] ?? match[2] }
      : refuse(
          'BAD_VALUE',
          "must be a port, like 3333, or an address of this machine with a port, like '127.0.0.1:3333'",
        );
  });

/** Where a secret lies: a file of the operator's, or a variable of the host's environment. */
export type SecretSource = { readonly file: string } | { readonly env: string };

const secretSource = () =>
  field((value): SecretSource | Refusal => {
    const [only, more] = isTable(value) ? Object.entries(value) : [];
    if (only !== undefined && more === undefined) {
      const [kind, named] = only;
      if (kind === 'file' && path().safeParse(named).success) return { file: String(named) };
      if (kind === 'env' && typeof named === 'string' && VARIABLE.test(named)) return { env: named };
    }
    return refuse(
      'BAD_VALUE',
      'must be { file = "/path" } or { env = "NAME" }; the value itself belongs into the file',
    );
  });

const moduleTable = () =>
  table({
    enabled: boolean().optional(),
    run: word('spawn', 'external').optional(),
    unsigned: boolean().optional(),
    path: path().optional(),
    grants: list(permission(), PERMISSIONS.length).optional(),
    limits: limitsTable().optional(),
    config: foreignTable().optional(),
    secrets: map(configKeyRefusal, secretSource(), MAX_LIST).optional(),
    extra_read_only: list(path(), MAX_LIST).optional(),
    network: networkGrants().optional(),
    allowed_callers: list(moduleName(), MAX_LIST).optional(),
  });

/** A port of the front door; 0 is any free one. */
const MAX_RPC_USERS = 64;

/** One of the node's methods. There is no grammar for several: what may move money is named letter by letter. */
const nodeMethod = () =>
  text('BAD_VALUE', 64, "the name of one of the node's methods, each by itself", (value) =>
    /^[a-z][a-z0-9]*$/.test(value),
  );

/** What Bitcoin Core's share/rpcauth/rpcauth.py prints. */
const rpcauth = () =>
  text('BAD_VALUE', 512, "'user:salt$hmac', as bitcoind has it in rpcauth", (value) =>
    /^[^:$\s]+:[0-9a-f]+\$[0-9a-f]{64}$/.test(value),
  );

const rpcTable = () =>
  table({
    enabled: boolean().optional(),
    address: word('127.0.0.1', '::1').optional(),
    port: integer('BAD_VALUE', 0, MAX_PORT).optional(),
    passthrough: list(nodeMethod(), MAX_LIST).optional(),
    cookie_file: path().optional(),
    rpcauth: list(rpcauth(), MAX_RPC_USERS).optional(),
    metrics_auth: boolean().optional(),
  });

/** Tables and keys of the design that this version does not act on: accepting them would be a promise not kept. */
export const NOT_YET_SERVED: readonly (readonly string[])[] = [['registry'], ['trust'], ['modules', '*', 'version']];

/** The grammar of the operator's file, table by table. */
export function operatorSchema() {
  return table({
    node: foreignTable().optional(),
    paths: table({
      modules: path().optional(),
      data: path().optional(),
      sockets: path().optional(),
    }).optional(),
    sandbox: table({ minimum: sandboxMinimum().optional() }).optional(),
    limits: limitsTable().optional(),
    calls: table({
      per_second: integer('BAD_VALUE', 1, MAX_CALLS_PER_SECOND).optional(),
      node_in_flight: integer('BAD_VALUE', 1, MAX_NODE_CALLS).optional(),
    }).optional(),
    network: table({ proxy: hostAndPort().optional(), onlynet: word('onion').optional() }).optional(),
    rpc: rpcTable().optional(),
    interpreters: map(interpreterRefusal, path(), MAX_LIST).optional(),
    log: table({
      level: word('trace', 'debug', 'info', 'warn', 'error').optional(),
      format: word('auto', 'json', 'pretty').optional(),
      dir: path().optional(),
    }).optional(),
    providers: table({
      lightning: moduleName().optional(),
      payment: moduleName().optional(),
      governance: moduleName().optional(),
    }).optional(),
    modules: map(nameRefusal, moduleTable(), MAX_MODULES).optional(),
  });
}

/** What the schema makes of a file. */
export type OperatorDocument = z.output<ReturnType<typeof operatorSchema>>;
