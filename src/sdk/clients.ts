import type { Client } from '@grpc/grpc-js';
import { EventServiceService } from '../../gen/ts/modhost/event/v1/event_service.js';
import { ChainServiceService } from '../../gen/ts/modhost/v1/chain.js';
import { FilesystemServiceService } from '../../gen/ts/modhost/v1/filesystem.js';
import { GovernanceServiceService } from '../../gen/ts/modhost/v1/governance.js';
import { HealthServiceService } from '../../gen/ts/modhost/v1/health.js';
import { InvocationServiceService } from '../../gen/ts/modhost/v1/invocation.js';
import { LightningServiceService } from '../../gen/ts/modhost/v1/lightning.js';
import { LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import { MempoolServiceService } from '../../gen/ts/modhost/v1/mempool.js';
import { MetricsServiceService } from '../../gen/ts/modhost/v1/metrics.js';
import { MiningServiceService } from '../../gen/ts/modhost/v1/mining.js';
import { ModuleServiceService } from '../../gen/ts/modhost/v1/module.js';
import { NetworkServiceService } from '../../gen/ts/modhost/v1/network.js';
import { NodeServiceService } from '../../gen/ts/modhost/v1/node.js';
import { PaymentServiceService } from '../../gen/ts/modhost/v1/payment.js';
import { PipelineServiceService } from '../../gen/ts/modhost/v1/pipeline.js';
import { RpcServiceService } from '../../gen/ts/modhost/v1/rpc.js';
import { SessionServiceService } from '../../gen/ts/modhost/v1/session.js';
import { StorageServiceService } from '../../gen/ts/modhost/v1/storage.js';
import { TimerServiceService } from '../../gen/ts/modhost/v1/timer.js';
import { UtxoServiceService } from '../../gen/ts/modhost/v1/utxo.js';
import { createServiceClient, type ServiceClient } from './call.js';

/** The services that the node answers, through the host. */
export interface NodeClients {
  readonly node: ServiceClient<typeof NodeServiceService>;
  readonly chain: ServiceClient<typeof ChainServiceService>;
  readonly utxo: ServiceClient<typeof UtxoServiceService>;
  readonly mempool: ServiceClient<typeof MempoolServiceService>;
  readonly network: ServiceClient<typeof NetworkServiceService>;
  readonly mining: ServiceClient<typeof MiningServiceService>;
  readonly lightning: ServiceClient<typeof LightningServiceService>;
  readonly payment: ServiceClient<typeof PaymentServiceService>;
  readonly governance: ServiceClient<typeof GovernanceServiceService>;
}

/** The services that the host itself answers; which of them, `SessionContext.services` tells. */
export interface HostClients {
  readonly session: ServiceClient<typeof SessionServiceService>;
  readonly event: ServiceClient<typeof EventServiceService>;
  readonly logs: ServiceClient<typeof LogServiceService>;
  readonly invocation: ServiceClient<typeof InvocationServiceService>;
  readonly pipeline: ServiceClient<typeof PipelineServiceService>;
  readonly storage: ServiceClient<typeof StorageServiceService>;
  readonly filesystem: ServiceClient<typeof FilesystemServiceService>;
  readonly timer: ServiceClient<typeof TimerServiceService>;
  readonly metrics: ServiceClient<typeof MetricsServiceService>;
  readonly health: ServiceClient<typeof HealthServiceService>;
  readonly rpc: ServiceClient<typeof RpcServiceService>;
  readonly modules: ServiceClient<typeof ModuleServiceService>;
}

/** Every service of the contract that a module can call. */
export interface ModuleClients extends NodeClients, HostClients {}

/** Makes the callers of every service over one channel; nothing is sent before the first call. */
export function createClients(channel: Client): ModuleClients {
  return {
    ...createNodeClients(channel),
    session: createServiceClient(channel, SessionServiceService),
    event: createServiceClient(channel, EventServiceService),
    logs: createServiceClient(channel, LogServiceService),
    invocation: createServiceClient(channel, InvocationServiceService),
    pipeline: createServiceClient(channel, PipelineServiceService),
    storage: createServiceClient(channel, StorageServiceService),
    filesystem: createServiceClient(channel, FilesystemServiceService),
    timer: createServiceClient(channel, TimerServiceService),
    metrics: createServiceClient(channel, MetricsServiceService),
    health: createServiceClient(channel, HealthServiceService),
    rpc: createServiceClient(channel, RpcServiceService),
    modules: createServiceClient(channel, ModuleServiceService),
  };
}

/** Makes the callers of the node's services alone: the founding document's NodeApi. */
export function createNodeClients(channel: Client): NodeClients {
  return {
    node: createServiceClient(channel, NodeServiceService),
    chain: createServiceClient(channel, ChainServiceService),
    utxo: createServiceClient(channel, UtxoServiceService),
    mempool: createServiceClient(channel, MempoolServiceService),
    network: createServiceClient(channel, NetworkServiceService),
    mining: createServiceClient(channel, MiningServiceService),
    lightning: createServiceClient(channel, LightningServiceService),
    payment: createServiceClient(channel, PaymentServiceService),
    governance: createServiceClient(channel, GovernanceServiceService),
  };
}
