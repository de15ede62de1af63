import { EventServiceService } from '../../gen/ts/modhost/event/v1/event_service.js';
import { ChainServiceService } from '../../gen/ts/modhost/v1/chain.js';
import { GovernanceServiceService } from '../../gen/ts/modhost/v1/governance.js';
import { HealthServiceService } from '../../gen/ts/modhost/v1/health.js';
import { InvocationServiceService } from '../../gen/ts/modhost/v1/invocation.js';
import { LightningServiceService } from '../../gen/ts/modhost/v1/lightning.js';
import { LogServiceService } from '../../gen/ts/modhost/v1/log.js';
import { MempoolServiceService } from '../../gen/ts/modhost/v1/mempool.js';
import { MiningServiceService } from '../../gen/ts/modhost/v1/mining.js';
import { NetworkServiceService } from '../../gen/ts/modhost/v1/network.js';
import { NodeServiceService } from '../../gen/ts/modhost/v1/node.js';
import { PaymentServiceService } from '../../gen/ts/modhost/v1/payment.js';
import { PipelineServiceService } from '../../gen/ts/modhost/v1/pipeline.js';
import { SessionServiceService } from '../../gen/ts/modhost/v1/session.js';
import { UtxoServiceService } from '../../gen/ts/modhost/v1/utxo.js';
import type { ServiceDefinition } from '../contract/service.js';
import type { Served } from '../ipc/server.js';
import type { NodeApi } from '../node/node-api.js';
import { createChainService } from '../services/chain.js';
import { createEventService, type EventServiceParts } from '../services/event.js';
import { createGovernanceService } from '../services/governance.js';
import { createHealthService, type HealthBook } from '../services/health.js';
import { createInvocationService } from '../services/invocation.js';
import { createLightningService } from '../services/lightning.js';
import { createLogService, type ModuleLogSink } from '../services/log.js';
import { createMempoolService } from '../services/mempool.js';
import { createMiningService } from '../services/mining.js';
import type { TemplateWatch } from '../services/mining-watch.js';
import { createNetworkService } from '../services/network.js';
import type { ServeDenylists } from '../services/network-denylist.js';
import { createNodeService } from '../services/node.js';
import { createNotYetServed } from '../services/not-yet-served.js';
import { createPaymentService } from '../services/payment.js';
import { createSessionService, type SessionFacts } from '../services/session.js';
import { createUtxoService } from '../services/utxo.js';
import type { Session } from '../session/session.js';
import type { ServiceEntry } from './facts.js';
import { KEPT_SERVICES } from './kept.js';

/** Services of the contract that answer NOT_YET_SERVED in this version of the host. */
const NOT_YET_SERVED: readonly ServiceDefinition[] = [PipelineServiceService];

/** Services that are answered. */
const SERVED: readonly ServiceDefinition[] = [
  SessionServiceService,
  LogServiceService,
  EventServiceService,
  NodeServiceService,
  ChainServiceService,
  UtxoServiceService,
  MempoolServiceService,
  NetworkServiceService,
  MiningServiceService,
  LightningServiceService,
  PaymentServiceService,
  GovernanceServiceService,
  InvocationServiceService,
  HealthServiceService,
];

/** Every service of the contract, and whether it is served: what the handshake tells. */
export const SERVICE_ENTRIES: readonly ServiceEntry[] = [
  ...SERVED.map((definition) => ({ definition, served: true })),
  ...KEPT_SERVICES,
  ...NOT_YET_SERVED.map((definition) => ({ definition, served: false })),
];

/** What the services of one session are made of. */
export interface SessionServiceParts {
  facts: SessionFacts;
  log: ModuleLogSink;
  /** The port, budgeted for the module. */
  node: NodeApi;
  denylists: ServeDenylists;
  templates: TemplateWatch;
  events: EventServiceParts;
  health: HealthBook;
  /** What the host keeps for the module, as services, and what other modules answer for it in place of the node. */
  kept: readonly Served[];
  /** Hears of every block of the module that the node accepted. */
  onBlockAccepted(raw: Uint8Array): void;
}

/** The whole contract as one session sees it. */
export function createSessionServices(session: Session, parts: SessionServiceParts): Served[] {
  const { node, denylists, templates } = parts;
  const { moduleId } = session.identity;
  const own: Served[] = [
    { definition: SessionServiceService, impl: createSessionService(session, parts.facts) },
    { definition: LogServiceService, impl: createLogService(parts.log, undefined, session.pace) },
    { definition: EventServiceService, impl: createEventService(session, parts.events) },
    { definition: NodeServiceService, impl: createNodeService({ node }) },
    { definition: ChainServiceService, impl: createChainService({ node }) },
    { definition: UtxoServiceService, impl: createUtxoService({ node }) },
    { definition: MempoolServiceService, impl: createMempoolService({ node }) },
    { definition: NetworkServiceService, impl: createNetworkService({ node, denylists, moduleId }) },
    {
      definition: MiningServiceService,
      impl: createMiningService({ node, templates, onAccepted: parts.onBlockAccepted }),
    },
    { definition: LightningServiceService, impl: createLightningService({ node }) },
    { definition: PaymentServiceService, impl: createPaymentService({ node }) },
    { definition: GovernanceServiceService, impl: createGovernanceService({ node }) },
    { definition: InvocationServiceService, impl: createInvocationService(session) },
    { definition: HealthServiceService, impl: createHealthService(parts.health) },
    ...NOT_YET_SERVED.map((definition) => ({ definition, impl: createNotYetServed(definition) })),
  ];
  // what a module answers in place of the node is not asked of the node
  const replaced = new Set(parts.kept.map(({ definition }) => definition));
  return [...own.filter(({ definition }) => !replaced.has(definition)), ...parts.kept];
}
