/** The library: embed a host of modules in your own program. See src/README.md for the map of the house. */
export type { DevchainAct, HostControl } from './admin/host-control.js';
export { ERROR_REASONS, type ErrorReason, HostError } from './contract/error.js';
export { PERMISSIONS, type Permission } from './contract/permission.js';
export { type Clock, createSystemClock } from './core/clock.js';
export { createSilentLogger, type Logger } from './core/logger.js';
export { createHost, type Host } from './host/host.js';
export type { HostOptions, ModuleSettings } from './host/options.js';
export type { LoadOutcome } from './host/shelf.js';
export { createBitcoindNode } from './node/bitcoind/node.js';
export type { BitcoindOptions } from './node/bitcoind/options.js';
export type * from './node/block-template.js';
export { createBtcdNode } from './node/btcd/node.js';
export type { BtcdOptions } from './node/btcd/options.js';
export { createDevchain, type Devchain, type DevchainOptions } from './node/devchain/devchain.js';
export type * from './node/node-api.js';
export type * from './node/provider-api.js';
