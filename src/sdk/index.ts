export { type Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
export { type Gap, GapReason } from '../../gen/ts/modhost/event/v1/event_service.js';
export { BlockFormat, TransactionFormat } from '../../gen/ts/modhost/v1/bitcoin.js';
export { HealthStatus } from '../../gen/ts/modhost/v1/health.js';
export type { ApiInvocation } from '../../gen/ts/modhost/v1/invocation.js';
export { InvocationFailureKind, StopReason } from '../../gen/ts/modhost/v1/invocation.js';
export { Permission } from '../../gen/ts/modhost/v1/permission.js';
export type { Limits, SessionContext } from '../../gen/ts/modhost/v1/session.js';
export { type Block, type BlockTransaction, iterateBlockTransactions, parseBlock } from '../core/bitcoin/block.js';
export { type BlockHeader, blockHash, parseHeader, previousHashOf } from '../core/bitcoin/header.js';
export { parseTransaction, type Transaction, txid, vsize, weight, wtxid } from '../core/bitcoin/transaction.js';
export { hashFromDisplay, hashToDisplay } from '../core/bytes.js';
export { type CallOptions, createServiceClient, DEFAULT_TIMEOUT_MS, type ServiceClient } from './call.js';
export { type ChannelSettings, createChannel, DEFAULT_MAX_MESSAGE_BYTES } from './channel.js';
export { createClients, createNodeClients, type HostClients, type ModuleClients, type NodeClients } from './clients.js';
export { type ConnectOptions, connect, type Module } from './connect.js';
export {
  advanceCursor,
  type ChainCursor,
  type ChainPosition,
  formatCursor,
  MAX_CURSOR_HASHES,
  parseCursor,
  retreatCursor,
  rollbackCursor,
} from './cursor.js';
export { type ModuleEnvironment, readEnvironment, readToken } from './environment.js';
export { type ClientReason, ModhostError, type ModhostReason } from './error.js';
export { type EventItem, type EventName, type EventOptions, openEvents } from './events.js';
export {
  type BlockConnected,
  type BlockDisconnected,
  type ChainChange,
  type ChainLive,
  type ChainRollback,
  type FollowOptions,
  openFollow,
} from './follow.js';
export {
  type HandshakeAnswer,
  type HandshakeClaims,
  handshake,
  parseConfig,
  SDK_NAME,
  SDK_VERSION,
} from './handshake.js';
export {
  type Handler,
  type Handlers,
  InvocationError,
  type OwnHealth,
  type WorkContext,
} from './invocations.js';
export { createModuleLog, type ModuleLog, type ModuleLogFields, type OwnedModuleLog } from './log.js';
export {
  type ApiMethod,
  type ApiOffer,
  apiHandler,
  type CallModule,
  createCallModule,
  type ModuleCallOptions,
  ModuleFailure,
} from './module-calls.js';
export { isRetryable, type RetryOptions, withRetry } from './retry.js';
export { type RunOptions, runModule } from './run.js';
export { type Delivery, keepSubscribed, type SubscriptionLink } from './subscription.js';
