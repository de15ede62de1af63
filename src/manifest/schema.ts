import type { z } from 'zod';
import { capabilityName, PERMISSIONS, permissionFromCapability } from '../contract/permission.js';
import { nearest } from '../core/nearest.js';
import { configField, configKeyRefusal } from './config-schema.js';
import { boolean, field, integer, list, map, refuse, table, text, word } from './field.js';
import { DAY_MS, limitsTable, mebibytes } from './limits-table.js';
import {
  commandWord,
  dependencyNameRefusal,
  downloadUrl,
  hash,
  hostAndPort,
  MAX_MAINTAINERS,
  moduleName,
  prose,
  relativePath,
  threshold,
  variableRefusal,
  version,
  versionRange,
} from './rules.js';

/** Most dependencies of one manifest: the resolver walks them. */
const MAX_DEPENDENCIES = 256;
/** Most entries of a list of names: each is compared at load. */
const MAX_LIST = 256;

const capability = () =>
  field((value) => {
    if (typeof value !== 'string') return refuse('UNKNOWN_CAPABILITY', 'must be the name of a capability');
    const permission = permissionFromCapability(value);
    if (permission !== undefined) return permission;
    const near = nearest(value, PERMISSIONS.map(capabilityName));
    return refuse(
      'UNKNOWN_CAPABILITY',
      `'${shorten(value)}' is no capability${near ? `; did you mean '${near}'?` : ''}`,
    );
  });

const person = () => text('BAD_VALUE', 128, 'a name of 1 to 128 characters');
const eventName = () =>
  text('BAD_VALUE', 64, "the name of an event type, like 'NewBlock'", (value) => /^[A-Z][A-Za-z0-9]*$/.test(value));
const topic = () =>
  text('BAD_VALUE', 160, "a topic '<module>.<topic>'", (value) => /^[a-z0-9-]+(?:\.[a-z0-9_-]+)+$/.test(value));
const methodName = () =>
  text('BAD_VALUE', 64, 'the name of a method', (value) => /^[A-Za-z][A-Za-z0-9_.-]*$/.test(value));
const port = () => integer('BAD_VALUE', 1, 65535);

const signer = () =>
  table({
    name: person(),
    key: key().optional(),
    public_key: key().optional(),
    signature: text('BAD_SIGNATURE', 128, '128 lower-case hex digits', (value) => /^[0-9a-f]{128}$/.test(value)),
  });

/** Compressed point in hex; upper case is read as lower, so that one key is one signer. */
function key() {
  return field((value) =>
    typeof value === 'string' && /^0[23][0-9a-fA-F]{64}$/.test(value)
      ? value.toLowerCase()
      : refuse('BAD_KEY', 'must be a compressed secp256k1 key: 02 or 03 and 64 hex digits'),
  );
}

const artifact = () =>
  table({
    platform: text('BAD_VALUE', 64, "a platform like 'linux-x64'", (value) => /^[a-z0-9]+(?:-[a-z0-9]+)+$/.test(value)),
    kind: word('file', 'bundle').optional(),
    hash: hash(),
    size: size(),
    download_url: downloadUrl().optional(),
  });

function size() {
  return integer('BAD_SIZE', 1, Number.MAX_SAFE_INTEGER);
}

/**
 * The whole grammar of module.toml at version 1, table by table in the order of the design page. It checks each value by
 * itself; what depends on two of them is in check.ts.
 */
export function documentSchema() {
  return table({
    manifest_version: integer('BAD_VALUE', 1, 1).optional(),
    name: moduleName(),
    version: version(),
    description: prose().optional(),
    author: prose().optional(),
    license: prose().optional(),
    homepage: prose().optional(),
    entry_point: relativePath().optional(),
    capabilities: list(capability(), MAX_LIST).optional(),
    rpc_overrides: list(
      text('BAD_VALUE', 64, "the name of a core RPC method, like 'getblocktemplate'", (value) =>
        /^[a-z0-9]+$/.test(value),
      ),
      MAX_LIST,
    ).optional(),
    run: table({
      command: list(commandWord(), 64).optional(),
      env: map(variableRefusal, environmentValue(), MAX_LIST).optional(),
    }).optional(),
    dependencies: map(dependencyNameRefusal, versionRange(), MAX_DEPENDENCIES).optional(),
    optional_dependencies: map(dependencyNameRefusal, versionRange(), MAX_DEPENDENCIES).optional(),
    compatibility: table({
      min_consensus_version: version().optional(),
      min_protocol_version: version().optional(),
      min_node_version: version().optional(),
      tested_with: list(version(), MAX_LIST).optional(),
      capabilities: list(capability(), MAX_LIST).optional(),
    }).optional(),
    governance: table({
      tier: person().optional(),
      maintainers: list(person(), MAX_MAINTAINERS, 'TOO_MANY_SIGNERS'),
      threshold: threshold(),
      review_period_days: integer('BAD_VALUE', 0, 3650).optional(),
    }).optional(),
    signatures: table({
      maintainers: list(signer(), MAX_MAINTAINERS, 'TOO_MANY_SIGNERS'),
      threshold: threshold(),
    }).optional(),
    binary: table({
      hash: hash().optional(),
      size: size().optional(),
      download_url: downloadUrl().optional(),
      artifacts: list(artifact(), 64).optional(),
    }).optional(),
    limits: limitsTable().optional(),
    network: table({
      outbound: list(hostAndPort(), MAX_LIST).optional(),
      outbound_any: boolean().optional(),
      inbound: list(port(), 64).optional(),
      udp: boolean().optional(),
    }).optional(),
    events: table({
      subscribe: list(eventName(), MAX_LIST).optional(),
      publish: list(eventName(), MAX_LIST).optional(),
      topics: list(topic(), MAX_LIST).optional(),
    }).optional(),
    api: table({
      methods: list(methodName(), 64).optional(),
      version: version().optional(),
      allowed_callers: list(moduleName(), MAX_LIST).optional(),
    }).optional(),
    config: map(configKeyRefusal, configField(), MAX_LIST).optional(),
    config_schema: map(configKeyRefusal, prose(), MAX_LIST).optional(),
    health: table({
      mode: word('invocation', 'ping').optional(),
      interval_ms: integer('BAD_VALUE', 100, DAY_MS).optional(),
      timeout_ms: integer('BAD_VALUE', 100, DAY_MS).optional(),
    }).optional(),
    restart: table({
      policy: word('on-failure', 'always', 'never').optional(),
      max_crashes: integer('BAD_VALUE', 1, 1000).optional(),
      window_s: integer('BAD_VALUE', 1, 86_400).optional(),
    }).optional(),
    update: table({
      mode: word('restart', 'handover').optional(),
      state: word('rollback', 'no-rollback').optional(),
    }).optional(),
    storage: table({
      schema_version: integer('BAD_VALUE', 1, 0xffff_ffff).optional(),
      quota_mb: mebibytes().optional(),
    }).optional(),
  });
}

/** What the schema makes of a document. */
export type ManifestDocument = z.output<ReturnType<typeof documentSchema>>;

function environmentValue() {
  return field((value) =>
    typeof value === 'string' && value.length <= 4096 && !value.includes('\0')
      ? value
      : refuse('BAD_VALUE', 'must be a string of at most 4096 characters'),
  );
}

/** A hostile word in a message stays short. */
function shorten(value: string): string {
  return value.length > 64 ? `${value.slice(0, 64)}…` : value;
}
