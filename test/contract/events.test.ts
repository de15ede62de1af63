import { type DescEnumValue, getOption, hasOption, ScalarType } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { PUBLISHED_BY_HOST } from '../../src/host/published-events.js';

/** The 123 event names of the founding document and its implementation, in the order of the catalogue's categories. */
const FOUNDING_NAMES: readonly string[] = `
  NewBlock NewTransaction BlockDisconnected ChainReorg
  PaymentRequestCreated PaymentSettled PaymentFailed PaymentVerified PaymentRouteFound PaymentRouteFailed
  ChannelOpened ChannelClosed
  BlockMined BlockTemplateUpdated MiningDifficultyChanged MiningJobCreated ShareSubmitted MergeMiningReward
  MiningPoolConnected MiningPoolDisconnected StratumClientConnected StratumClientDisconnected
  MeshPacketReceived
  StratumV2MessageReceived
  ModuleLoaded ModuleUnloaded ModuleReloaded ModuleStarted ModuleStopped ModuleCrashed ModuleHealthChanged
  ModuleStateChanged ModuleDiscovered ModuleInstalled ModuleUpdated ModuleRemoved
  ConfigLoaded
  NodeStartupCompleted NodeShutdown NodeShutdownCompleted
  DataMaintenance MaintenanceStarted MaintenanceCompleted HealthCheck
  DiskSpaceLow ResourceLimitWarning
  GovernanceProposalCreated GovernanceProposalVoted GovernanceProposalMerged EconomicNodeRegistered
  EconomicNodeStatus EconomicNodeForkDecision EconomicNodeVeto VetoThresholdReached GovernanceForkDetected
  WebhookSent WebhookFailed
  PeerConnected PeerDisconnected PeerBanned PeerUnbanned MessageReceived MessageSent BroadcastStarted
  BroadcastCompleted RouteDiscovered RouteFailed ConnectionAttempt AddressDiscovered AddressExpired
  NetworkPartition NetworkReconnected DoSAttackDetected RateLimitExceeded
  BlockValidationStarted BlockValidationCompleted ScriptVerificationStarted ScriptVerificationCompleted
  UTXOValidationStarted UTXOValidationCompleted DifficultyAdjusted SoftForkActivated SoftForkLockedIn
  ConsensusRuleViolation
  HeadersSyncStarted HeadersSyncProgress HeadersSyncCompleted BlockSyncStarted BlockSyncProgress
  BlockSyncCompleted SyncStateChanged
  MempoolTransactionAdded MempoolTransactionRemoved MempoolThresholdExceeded FeeRateChanged MempoolCleared
  StorageRead StorageWrite StorageQuery DatabaseBackupStarted DatabaseBackupCompleted
  DandelionStemStarted DandelionStemAdvanced DandelionFluffed DandelionStemPathExpired
  CompactBlockReceived BlockReconstructionStarted BlockReconstructionCompleted
  FibreBlockEncoded FibreBlockSent FibrePeerRegistered CompanionUdpPeerRegistered CompanionUdpPeerUnregistered
  PackageReceived PackageRejected
  UtxoCommitmentReceived UtxoCommitmentVerified
  BanListShared BanListReceived
  SelectiveSyncPolicyApplied ActionExecuted ModulePurchaseCompleted IBDBlockFiltered
`
  .trim()
  .split(/\s+/);

/** Names that the founding implementation has removed; carried for modules that still speak them. */
const REMOVED_NAMES: readonly string[] = [
  'EconomicNodeForkDecision',
  'EconomicNodeRegistered',
  'EconomicNodeStatus',
  'EconomicNodeVeto',
  'FibrePeerRegistered',
  'VetoThresholdReached',
];

/** Where a run of capitals would not survive the way to snake_case and back, the message is written otherwise. */
const RESPELLED: ReadonlyMap<string, string> = new Map([
  ['UTXOValidationStarted', 'UtxoValidationStarted'],
  ['UTXOValidationCompleted', 'UtxoValidationCompleted'],
  ['DoSAttackDetected', 'DosAttackDetected'],
  ['IBDBlockFiltered', 'IbdBlockFiltered'],
]);

/** The one type that the founding document does not have. */
const OWN_NAME = 'Topic';
/** Field numbers below this belong to the envelope of Event. */
const FIRST_PAYLOAD_NUMBER = 16;

interface EventTypeOptions {
  readonly category: number;
  readonly permission: number;
  readonly stability: number;
  readonly publisher: number;
  readonly queue: number;
}

const registry = createContractRegistry();

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`the descriptor set has no ${what}`);
  return value;
}

const eventType = required(registry.getEnum('modhost.event.v1.EventType'), 'EventType');
const event = required(registry.getMessage('modhost.event.v1.Event'), 'Event');
const payload = required(
  event.oneofs.find((oneof) => oneof.name === 'payload'),
  'Event.payload',
);
const option = required(registry.getExtension('modhost.v1.event'), 'option (modhost.v1.event)');
const types = eventType.values.filter((value) => value.number !== 0);

/** Options of one event type, as the host reads them. */
function optionsOf(value: DescEnumValue): EventTypeOptions {
  return getOption(value, option) as unknown as EventTypeOptions;
}

/** Number of an option enum's value, by its full name, so that the expectations below read as the contract does. */
function numberOf(enumName: string, valueName: string): number {
  const desc = required(registry.getEnum(`modhost.v1.${enumName}`), enumName);
  return required(
    desc.values.find((value) => value.name === valueName),
    valueName,
  ).number;
}

/** Short names of the event types that a condition holds for, sorted. */
function typesWhere(condition: (options: EventTypeOptions) => boolean): string[] {
  return types
    .filter((value) => condition(optionsOf(value)))
    .map((value) => value.name.replace('EVENT_TYPE_', ''))
    .sort();
}

/** `NewBlock` -> `new_block`, by the rule that generators use in the other direction. */
function snakeCase(name: string): string {
  return name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toLowerCase();
}

/** Founding name of a payload message. */
function foundingName(messageName: string): string {
  for (const [founding, ours] of RESPELLED) if (ours === messageName) return founding;
  return messageName;
}

describe('the catalogue of events', () => {
  it('carries the 123 founding names and the topics, both ways', () => {
    expect(FOUNDING_NAMES).toHaveLength(123);
    expect(new Set(FOUNDING_NAMES).size).toBe(123);
    const carried = payload.fields.map((field) => foundingName(required(field.message, field.name).name));
    expect([...carried].sort()).toEqual([...FOUNDING_NAMES, OWN_NAME].sort());
    expect(types).toHaveLength(124);
  });

  it('tells the founding name where it is spelled otherwise', () => {
    for (const [founding, ours] of RESPELLED) {
      expect(FOUNDING_NAMES).toContain(founding);
      expect(registry.getMessage(`modhost.event.v1.${ours}`)?.name).toBe(ours);
    }
  });

  it('gives each type the number of its payload field, and the field and message its name', () => {
    const fromTypes = types.map((value) => [value.number, value.name.replace('EVENT_TYPE_', '').toLowerCase()]);
    const fromFields = payload.fields.map((field) => [field.number, field.name]);
    expect(fromFields).toEqual(fromTypes);
    for (const field of payload.fields) {
      const message = required(field.message, field.name);
      expect(message.typeName).toBe(`modhost.event.v1.${message.name}`);
      expect(field.name).toBe(snakeCase(message.name));
    }
  });

  it('leaves the numbers below 16 to the envelope', () => {
    for (const value of types) expect(value.number).toBeGreaterThanOrEqual(FIRST_PAYLOAD_NUMBER);
    const envelope = event.fields.filter((field) => field.oneof === undefined);
    expect(envelope.map((field) => field.name)).toEqual(['sequence', 'time_unix_ms', 'source', 'replayed']);
    for (const field of envelope) expect(field.number).toBeLessThan(FIRST_PAYLOAD_NUMBER);
  });

  it('marks exactly the six removed types deprecated', () => {
    const deprecated = types.filter((value) => value.deprecated).map((value) => value.number);
    const expected = payload.fields.filter((field) => REMOVED_NAMES.includes(required(field.message, field.name).name));
    expect(deprecated).toEqual(expected.map((field) => field.number));
    expect(payload.fields.filter((field) => field.deprecated)).toEqual(expected);
    expect(expected).toHaveLength(REMOVED_NAMES.length);
  });
});

describe('the facts beside each event type', () => {
  it('are complete', () => {
    for (const value of types) {
      expect(hasOption(value, option), value.name).toBe(true);
      const options = optionsOf(value);
      for (const fact of ['category', 'permission', 'stability', 'publisher', 'queue'] as const) {
        expect(options[fact], `${value.name}.${fact}`).toBeGreaterThan(0);
      }
    }
    expect(hasOption(required(eventType.value[0], 'the zero value'), option)).toBe(false);
  });

  it('keep categories together, and use every category', () => {
    const order = types.map((value) => optionsOf(value).category);
    const runs = order.filter((category, index) => category !== order[index - 1]);
    expect(new Set(runs).size).toBe(runs.length);
    const declared = required(registry.getEnum('modhost.v1.EventCategory'), 'EventCategory').values;
    expect([...runs].sort((a, b) => a - b)).toEqual(declared.slice(1).map((value) => value.number));
  });

  it('guard payment, mempool, peers and payloads of strangers, and nothing else', () => {
    const guards: Record<string, string> = {
      PAYMENT: 'READ_PAYMENT',
      MEMPOOL: 'READ_MEMPOOL',
      NETWORK: 'READ_NETWORK',
      DANDELION: 'READ_NETWORK',
      COMPACT_BLOCK: 'READ_NETWORK',
      FIBRE: 'READ_NETWORK',
      PACKAGE: 'READ_NETWORK',
      UTXO_COMMITMENT: 'READ_NETWORK',
      BAN_LIST: 'READ_NETWORK',
      MESH: 'NETWORK_ACCESS',
      STRATUM: 'NETWORK_ACCESS',
    };
    const categories = required(registry.getEnum('modhost.v1.EventCategory'), 'EventCategory');
    for (const value of types) {
      const options = optionsOf(value);
      const category = required(categories.value[options.category], 'category').name.replace('EVENT_CATEGORY_', '');
      const expected = numberOf('Permission', `PERMISSION_${guards[category] ?? 'NONE'}`);
      expect(options.permission, value.name).toBe(expected);
    }
  });

  it('keep chain and life cycle in a queue that the rest cannot crowd', () => {
    const chainQueue = numberOf('EventQueue', 'EVENT_QUEUE_CHAIN');
    expect(typesWhere((options) => options.queue === chainQueue)).toEqual(
      [
        'NEW_BLOCK BLOCK_DISCONNECTED CHAIN_REORG CONFIG_LOADED NODE_STARTUP_COMPLETED NODE_SHUTDOWN',
        'NODE_SHUTDOWN_COMPLETED HEADERS_SYNC_STARTED HEADERS_SYNC_COMPLETED BLOCK_SYNC_STARTED',
        'BLOCK_SYNC_COMPLETED SYNC_STATE_CHANGED MODULE_LOADED MODULE_UNLOADED MODULE_RELOADED MODULE_STARTED',
        'MODULE_STOPPED MODULE_CRASHED MODULE_HEALTH_CHANGED MODULE_STATE_CHANGED MODULE_DISCOVERED',
        'MODULE_INSTALLED MODULE_UPDATED MODULE_REMOVED',
      ]
        .join(' ')
        .split(' ')
        .sort(),
    );
  });

  it('reserve what node and host know to the host', () => {
    const module = numberOf('EventPublisher', 'EVENT_PUBLISHER_MODULE');
    expect(typesWhere((options) => options.publisher === module)).toEqual(
      [
        'PAYMENT_REQUEST_CREATED PAYMENT_SETTLED PAYMENT_FAILED PAYMENT_VERIFIED PAYMENT_ROUTE_FOUND',
        'PAYMENT_ROUTE_FAILED CHANNEL_OPENED CHANNEL_CLOSED BLOCK_MINED MINING_JOB_CREATED SHARE_SUBMITTED',
        'MERGE_MINING_REWARD MINING_POOL_CONNECTED MINING_POOL_DISCONNECTED STRATUM_CLIENT_CONNECTED',
        'STRATUM_CLIENT_DISCONNECTED GOVERNANCE_PROPOSAL_CREATED GOVERNANCE_PROPOSAL_VOTED',
        'GOVERNANCE_PROPOSAL_MERGED ECONOMIC_NODE_REGISTERED ECONOMIC_NODE_STATUS ECONOMIC_NODE_FORK_DECISION',
        'ECONOMIC_NODE_VETO VETO_THRESHOLD_REACHED GOVERNANCE_FORK_DETECTED WEBHOOK_SENT WEBHOOK_FAILED',
        'ROUTE_DISCOVERED ROUTE_FAILED SELECTIVE_SYNC_POLICY_APPLIED ACTION_EXECUTED MODULE_PURCHASE_COMPLETED',
        'IBD_BLOCK_FILTERED TOPIC',
      ]
        .join(' ')
        .split(' ')
        .sort(),
    );
  });

  it('promise a form exactly for what the host publishes', () => {
    const stable = numberOf('Stability', 'STABILITY_STABLE');
    const byModules = numberOf('EventPublisher', 'EVENT_PUBLISHER_MODULE');
    expect(typesWhere((options) => options.stability === stable && options.publisher === byModules)).toEqual([
      'BLOCK_MINED',
    ]);
    expect(typesWhere((options) => options.stability === stable).sort()).toEqual(Object.keys(PUBLISHED_BY_HOST).sort());
  });
});

describe('the payloads', () => {
  const messages = payload.fields.map((field) => required(field.message, field.name));
  const fields = messages.flatMap((message) => message.fields);
  const scalars = fields.filter((field) => field.fieldKind === 'scalar');

  it('have at least one field each', () => {
    for (const message of messages) expect(message.fields.length, message.name).toBeGreaterThan(0);
  });

  it('write hashes as bytes, heights as uint32, amounts and times as integers with their unit', () => {
    const rules: readonly (readonly [RegExp, ScalarType])[] = [
      [/(^|_)(hash|txid|tip|header|pubkey)$/, ScalarType.BYTES],
      [/(^|_)height$/, ScalarType.UINT32],
      [/_(sats|msats|ms|bytes)$/, ScalarType.UINT64],
      [/fee_rate/, ScalarType.UINT64],
      [/(^|_)(difficulty|percent)$/, ScalarType.DOUBLE],
    ];
    for (const field of scalars) {
      for (const [pattern, type] of rules) {
        if (pattern.test(field.name)) {
          expect([field.toString(), ScalarType[field.scalar]]).toEqual([field.toString(), ScalarType[type]]);
        }
      }
      expect(field.name, field.toString()).not.toMatch(/_seconds$|timestamp/);
      if (field.name.includes('fee_rate')) expect(field.name).toMatch(/_sat_per_kvb$/);
    }
  });

  it('import no message of other packages and no well-known type', () => {
    for (const field of fields) expect(field.fieldKind, field.toString()).not.toBe('message');
  });

  it('close each vocabulary with an UNSPECIFIED zero', () => {
    for (const field of fields) {
      if (field.fieldKind === 'enum') expect(field.enum.values[0]?.name, field.toString()).toMatch(/_UNSPECIFIED$/);
    }
  });

  it('use presence only where zero is a value of its own', () => {
    const explicit = fields.filter((field) => field.proto.proto3Optional).map((field) => field.toString());
    expect(explicit.map((name) => name.replace('field modhost.event.v1.', ''))).toEqual([
      'EconomicNodeRegistered.hashpower_percent',
      'MempoolTransactionAdded.fee_rate_sat_per_kvb',
      'MempoolTransactionRemoved.mempool_tx_count',
      'FeeRateChanged.mempool_tx_count',
      'MempoolCleared.cleared_count',
    ]);
  });
});
