import { Stability } from '../../gen/ts/modhost/v1/options.js';
import {
  GuaranteeState,
  type Limits,
  type ServedService,
  type Guarantee as WireGuarantee,
} from '../../gen/ts/modhost/v1/session.js';
import type { MethodFacts } from '../contract/methods.js';
import type { ServiceDefinition } from '../contract/service.js';
import { MAX_MESSAGE_DEPTH } from '../contract/strict-wire.js';
import { MAX_BATCH_BYTES } from '../events/frame.js';
import { MAX_EVENT_BYTES } from '../events/subscription.js';
import { DEFAULT_DEADLINE_MS, MAX_METADATA_BYTES } from '../ipc/guard.js';
import { HANDSHAKE_TIMEOUT_MS, MAX_CONCURRENT_STREAMS, MAX_CONNECTIONS, MAX_MESSAGE_BYTES } from '../ipc/server.js';
import type { Guarantee } from '../sandbox/guarantee.js';
import type { ResourceLimits } from '../sandbox/limits.js';
import type { EventLimits } from '../services/event.js';
import { MAX_METRIC_SERIES } from '../services/metrics-book.js';
import { MAX_API_METHODS } from '../services/module.js';
import {
  DEFAULT_STORAGE_MB,
  MAX_KEY_BYTES,
  MAX_STORAGE_KEYS,
  MAX_STORAGE_TREES,
  MAX_VALUE_BYTES,
} from '../services/storage/limits.js';
import { MIN_TIMER_INTERVAL_MS } from '../services/timer/service.js';
import { MAX_TIMERS } from '../services/timer/session-timers.js';
import { MAX_CALL_DEPTH } from '../session/calls.js';
import { MAX_PENDING_INVOCATIONS } from '../session/invocation-desk.js';
import type { CallQuotaOptions } from '../session/quota.js';
import { LOG_BYTES_PER_SECOND, MAX_LOG_LINE_BYTES } from './log-book.js';

/** Bounds of services that later versions of the host serve; promised now so that authors can build on them. */
const PLANNED = {
  fastCallsPerSecond: 100_000,
  fastCallBurst: 200_000,
  maxRpcEndpoints: 64,
  maxPipelinedCalls: 1_024,
} as const;

/** Every bound of one session, in the contract's form. */
export function sessionLimits(
  limits: ResourceLimits,
  calls: CallQuotaOptions,
  events: EventLimits,
  storageMb = DEFAULT_STORAGE_MB,
): Limits {
  return {
    handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
    startTimeoutMs: limits.startTimeoutMs,
    stopTimeoutMs: limits.stopTimeoutMs,
    maxConnections: MAX_CONNECTIONS,
    maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
    maxMessageBytes: MAX_MESSAGE_BYTES,
    maxBatchBytes: MAX_BATCH_BYTES,
    maxMetadataBytes: MAX_METADATA_BYTES,
    maxMessageDepth: MAX_MESSAGE_DEPTH,
    defaultDeadlineMs: DEFAULT_DEADLINE_MS,
    callsPerSecond: calls.ratePerSecond,
    callBurst: calls.burst,
    maxCallsInFlight: calls.maxInFlight,
    eventQueueLength: events.queue.maxItems,
    eventQueueBytes: events.queue.maxBytes,
    maxEventBytes: MAX_EVENT_BYTES,
    publishedEventsPerSecond: events.publishedPerSecond,
    logBytesPerSecond: LOG_BYTES_PER_SECOND,
    maxLogLineBytes: MAX_LOG_LINE_BYTES,
    dataMb: limits.dataMb,
    memoryMb: limits.memoryMb,
    cpuPercent: limits.cpuPercent,
    pids: limits.pids,
    openFiles: limits.openFiles,
    maxPendingInvocations: MAX_PENDING_INVOCATIONS,
    maxTimers: MAX_TIMERS,
    minTimerIntervalMs: MIN_TIMER_INTERVAL_MS,
    maxMetricSeries: MAX_METRIC_SERIES,
    storageMb,
    maxStorageKeys: MAX_STORAGE_KEYS,
    maxStorageTrees: MAX_STORAGE_TREES,
    maxKeyBytes: MAX_KEY_BYTES,
    maxValueBytes: MAX_VALUE_BYTES,
    maxApiMethods: MAX_API_METHODS,
    maxCallDepth: MAX_CALL_DEPTH,
    ...PLANNED,
  };
}

/** A guarantee in the contract's form. */
export function wireGuarantee({ name, state, by, verified }: Guarantee): WireGuarantee {
  const states = {
    enforced: GuaranteeState.ENFORCED,
    watched: GuaranteeState.WATCHED,
    none: GuaranteeState.NONE,
    'by-others': GuaranteeState.BY_OTHERS,
  } as const;
  return { name, state: states[state], by, verified };
}

/** A service of the contract, as the handshake lists it. */
export interface ServiceEntry {
  definition: ServiceDefinition;
  /** False for a service whose every method answers NOT_YET_SERVED. */
  served: boolean;
}

/** What the handshake says of the services that are served. */
export function servedServices(
  entries: readonly ServiceEntry[],
  methods: ReadonlyMap<string, MethodFacts>,
): ServedService[] {
  return entries
    .filter(({ served }) => served)
    .map(({ definition }) => {
      const facts = Object.values(definition).flatMap(({ path }) => methods.get(path) ?? []);
      return {
        name: facts[0]?.service ?? '',
        stability: facts.some(({ stability }) => stability === 'STABLE') ? Stability.STABLE : Stability.ALPHA,
        methodsNotServed: [],
        alphaMethods: facts.filter(({ stability }) => stability === 'ALPHA').map(({ name }) => name),
      };
    });
}
