/**
 * Who may import whom, as data: the table of the design's architecture page, section 6. It may change when the design
 * does, in the same commit and with the reason.
 */

/** What one room may import besides itself and `node:` modules. */
export interface Room {
  /** Other rooms; `name:types` allows types only. */
  rooms: readonly string[];
  /** npm packages. */
  packages?: readonly string[];
}

/** Every room below `src`, and the programs beside it. */
export const ROOMS: Readonly<Record<string, Room>> = {
  // noble: transaction and block hashes of core/bitcoin are not node:crypto's, because the SDK shares them.
  core: { rooms: [], packages: ['semver', '@noble/hashes'] },
  gen: { rooms: ['gen'], packages: ['@bufbuild/protobuf', '@grpc/grpc-js'] },
  contract: { rooms: ['core', 'gen'], packages: ['@bufbuild/protobuf'] },
  manifest: { rooms: ['contract', 'core'], packages: ['smol-toml', 'zod'] },
  trust: { rooms: ['manifest', 'contract', 'core'], packages: ['@noble/hashes', '@noble/curves'] },
  sandbox: { rooms: ['contract', 'core'] },
  // What a module may reach, and the relaying of it; starts no process: process opens the listeners inside a namespace and
  // host hands them over.
  network: { rooms: ['contract', 'core', 'gen:types'] },
  process: { rooms: ['network', 'sandbox', 'manifest:types', 'contract', 'core'] },
  registry: { rooms: ['trust', 'manifest', 'contract', 'core'], packages: ['zod', 'tar'] },
  // gen stands on the floor of the contract: its enums are the words that events, services and admin speak.
  events: { rooms: ['contract', 'core', 'gen'] },
  session: { rooms: ['events', 'manifest:types', 'contract', 'core', 'gen:types'] },
  'node-api': { rooms: ['contract', 'core'] },
  // The one budget of calls in flight wraps any port, so it stands beside the port and below no adapter.
  'node-budget': { rooms: ['node-api', 'contract', 'core'] },
  // What the adapters of bitcoind and btcd share: two dialects of one JSON-RPC.
  'node/jsonrpc': { rooms: ['node-api', 'contract', 'core'], packages: ['zod', 'ws'] },
  'node/bitcoind': { rooms: ['node/jsonrpc', 'node-api', 'contract', 'core'], packages: ['zod', 'zeromq'] },
  'node/btcd': { rooms: ['node/jsonrpc', 'node-api', 'contract', 'core'], packages: ['zod', 'ws'] },
  // The embedded chain signs real transactions.
  'node/devchain': { rooms: ['node-api', 'contract', 'core'], packages: ['@noble/curves', '@noble/hashes', 'zod'] },
  services: {
    rooms: ['session', 'events', 'node-api', 'contract', 'core', 'gen'],
    packages: ['classic-level'],
  },
  admin: {
    rooms: ['session', 'events', 'registry', 'trust', 'manifest', 'contract', 'core', 'gen'],
    packages: ['prom-client'],
  },
  ipc: { rooms: ['services', 'admin', 'session', 'contract', 'core', 'gen'], packages: ['@grpc/grpc-js'] },
  sdk: { rooms: ['contract', 'core', 'gen'], packages: ['@grpc/grpc-js'] },
  client: { rooms: ['contract', 'core', 'gen'], packages: ['@grpc/grpc-js'] },
  host: {
    rooms: [
      ...['ipc', 'services', 'admin', 'session', 'events', 'registry', 'trust', 'process', 'sandbox'],
      ...['network', 'manifest'],
      ...['node-budget', 'node/bitcoind', 'node/btcd', 'node/devchain', 'node-api', 'contract', 'core', 'gen'],
    ],
    packages: ['pino', 'zod'],
  },
  cli: {
    rooms: ['host', 'client', 'registry', 'trust', 'manifest', 'contract', 'core', 'gen:types'],
    packages: ['commander'],
  },
  setup: { rooms: ['core'] },
  // src/index.ts, the library: the host, the port, and the adapters that an embedder hands to the host himself.
  index: {
    rooms: [
      ...['host', 'admin:types', 'client', 'manifest', 'contract', 'core'],
      ...['node-api', 'node/bitcoind', 'node/btcd', 'node/devchain'],
    ],
  },
  // The suite for adapters, run by an embedder too: it knows the port and its words, never an adapter.
  'conformance/node-api': { rooms: ['node-api', 'contract', 'core'] },
  // Subjects know their stubs or the SDK.
  'conformance/modules': { rooms: ['sdk', 'gen'], packages: ['@grpc/grpc-js'] },
  conformance: { rooms: ['gen'], packages: ['@grpc/grpc-js'] },
};

/** `node:` modules that only some rooms may use: what starts programs, and what reaches a network. */
export const GUARDED_NODE_MODULES: Readonly<Record<string, readonly string[]>> = {
  'node:child_process': ['process', 'setup'],
  'node:cluster': [],
  'node:worker_threads': [],
  'node:http': ['node/jsonrpc', 'node/bitcoind', 'node/btcd', 'admin'],
  'node:https': ['node/jsonrpc', 'node/bitcoind', 'node/btcd'],
  // network dials for modules; process runs the host's program inside a module's namespace.
  'node:net': ['ipc', 'network', 'process', 'node/jsonrpc', 'node/bitcoind', 'node/btcd'],
  'node:dgram': ['network', 'process'],
  'node:dns': ['network'],
  'node:dns/promises': ['network'],
  'node:tls': ['node/jsonrpc', 'node/btcd'],
};

/** Rooms that may speak to the process they run in: its arguments, its signals, its end. */
export const PROCESS_ROOMS: readonly string[] = ['cli', 'setup', 'conformance/modules'];

/**
 * Single files that may as well: runModule is the whole life of a module's own process, its SIGTERM and exit code; the
 * program that the host puts into a module's network namespace is a process of its own.
 */
export const PROCESS_FILES: readonly string[] = ['src/sdk/run.ts', 'src/process/net-program.ts'];

/** The only files that re-export: the doors of the package; the third is the suite that embedders run on their adapter. */
export const BARRELS: readonly string[] = ['src/index.ts', 'src/sdk/index.ts', 'conformance/node-api/index.ts'];

/** Words that say nothing, in names of files and types. */
export const BANNED_WORDS: readonly string[] = [
  ...['manager', 'managers', 'helper', 'helpers', 'util', 'utils', 'common', 'misc', 'base', 'impl', 'data', 'info'],
];

/** Type names that hold a banned word because something outside of our choice is called so. */
export const NAMED_BY_OTHERS: readonly string[] = [
  // The derived type of a service's implementation; the design's own name.
  'ServiceImpl',
  // Results of rpcs and of Bitcoin Core's commands: GetNodeInfo, GetChainInfo, getnetworkinfo.
  'NodeInfo',
  'ChainInfo',
  'LightningInfo',
  'PeerInfo',
];

/** Longest hand-written source file, lines. */
export const MAX_LINES = 400;
