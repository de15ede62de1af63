import { Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
import type {
  EventServiceService,
  GetDeliveryStatsResponse,
  PublishRequest,
  SubscribeRequest,
  SubscribeResponse,
} from '../../gen/ts/modhost/event/v1/event_service.js';
import { EventQueue } from '../../gen/ts/modhost/v1/options.js';
import { HostError, throwIfAborted } from '../contract/error.js';
import type { EventCatalogue, EventPayload } from '../contract/event-type.js';
import { capabilityName, type Permission } from '../contract/permission.js';
import { type CallContext, Encoded, type ServiceImpl } from '../contract/service.js';
import type { QueueBounds } from '../core/bounded-queue.js';
import { HASH_BYTES } from '../core/bytes.js';
import type { Clock } from '../core/clock.js';
import { createTokenBucket } from '../core/token-bucket.js';
import type { ChainReader } from '../events/chain-reader.js';
import { startChainWalk } from '../events/chain-walk.js';
import type { ModuleDelivery } from '../events/delivery-stats.js';
import type { EventHub, HubMember } from '../events/hub.js';
import { type EventFilter, MAX_EVENT_BYTES, MAX_QUEUE_BYTES, MAX_QUEUED_EVENTS } from '../events/subscription.js';
import type { Session } from '../session/session.js';
import { assertPayload, isTopic } from './event-payload.js';

/** Types that one request may name: twice what the contract has. */
export const MAX_TYPES = 256;
/** Topics that one request may name. */
export const MAX_TOPICS = 64;
/** Hashes of a locator: with doubling steps they span any chain. */
export const MAX_CURSOR_HASHES = 32;
/** Events that a module may publish per second by default, and at once after a pause. */
export const MAX_PUBLISHED_PER_SECOND = 100;

/** The quotas of one module that this service holds. */
export interface EventLimits {
  queue: QueueBounds;
  publishedPerSecond: number;
}

/** The quotas of a module for which the operator has set none. */
export const DEFAULT_EVENT_LIMITS: EventLimits = {
  queue: { maxItems: MAX_QUEUED_EVENTS, maxBytes: MAX_QUEUE_BYTES },
  publishedPerSecond: MAX_PUBLISHED_PER_SECOND,
};

/** What the service needs besides the session. */
export interface EventServiceParts {
  hub: EventHub;
  catalogue: EventCatalogue;
  /** The chain for walks; its calls count in this module's share of the node. */
  reader: ChainReader;
  limits: EventLimits;
  clock: Clock;
  /** Numbers in [0, 1). */
  random: () => number;
  /** Hears what the module subscribes to and publishes. */
  use?: {
    subscribed(types: Iterable<EventType>, needed: Iterable<Permission>): void;
    published(type: EventType, topic: string | undefined): void;
  };
}

/** Types that a walk is made of; a subscription with a cursor names both. */
const CURSOR_TYPES = [EventType.NEW_BLOCK, EventType.BLOCK_DISCONNECTED] as const;

/** Answers EventService for one spawn; its account at the hub closes with the session. */
export function createEventService(
  session: Session,
  parts: EventServiceParts,
): ServiceImpl<typeof EventServiceService> {
  const { hub, catalogue, limits } = parts;
  const { moduleId, instanceId } = session.identity;
  const member = hub.join(moduleId, instanceId, limits.queue);
  const leave = (): void => member.leave(session.ended.reason as HostError);
  if (session.ended.aborted) leave();
  else session.ended.addEventListener('abort', leave, { once: true });
  const budget = createTokenBucket(
    { ratePerSecond: limits.publishedPerSecond, burst: limits.publishedPerSecond },
    parts.clock,
  );
  const rules = createFilterRules(session, catalogue);
  let opening = false;

  return {
    async *subscribe(request, context) {
      const filter = rules.parse(request.types, request.topics);
      assertCursor(request, filter);
      rules.assertPermitted(filter);
      if (opening || member.subscription() !== undefined) {
        throw new HostError('STREAM_EXISTS', 'the session has a subscription; use UpdateSubscription');
      }
      if (hub.closed) throw new HostError('HOST_STOPPING', 'the host is stopping');
      // held while the node is asked, so that a second call cannot slip in between
      opening = true;
      try {
        const walk = await startWalk(request, member, parts, context.signal);
        throwIfAborted(context.signal);
        rules.assertPermitted(filter);
        member.subscribe({ filter, walk });
        parts.use?.subscribed(filter.types, rules.permissions(filter));
      } finally {
        opening = false;
      }
      yield* deliver(member, rules, context);
    },

    async updateSubscription(request) {
      const subscription = member.subscription();
      if (subscription === undefined) {
        throw new HostError('NOT_SUBSCRIBED', 'the session has no subscription; call Subscribe');
      }
      const filter = rules.parse(request.types, request.topics);
      if (subscription.walks) assertWalks(filter);
      rules.assertPermitted(filter);
      const afterSequence = member.update(filter);
      parts.use?.subscribed(filter.types, rules.permissions(filter));
      rules.watch(filter, (error) => subscription.close(error));
      return { afterSequence };
    },

    async publish(request) {
      const payload = assertPublishable(request, moduleId, catalogue);
      if (hub.closed) throw new HostError('HOST_STOPPING', 'the host is stopping');
      const waitMs = budget.take(1);
      if (waitMs > 0) {
        throw new HostError('RATE_LIMITED', `a module publishes ${limits.publishedPerSecond} events a second at most`, {
          retryAfterMs: waitMs,
        });
      }
      const topic = payload.$case === 'topic' ? payload.value.topic : undefined;
      parts.use?.published(catalogue.byCase(payload.$case).type, topic);
      return hub.publish(payload, { source: moduleId });
    },

    async getDeliveryStats() {
      return deliveryResponse(member.delivery());
    },
  };
}

async function startWalk(request: SubscribeRequest, member: HubMember, parts: EventServiceParts, signal: AbortSignal) {
  if (request.chainCursor.length === 0) return undefined;
  return startChainWalk(
    request.chainCursor,
    {
      reader: parts.reader,
      wantsReorg: () => member.subscription()?.filter.types.has(EventType.CHAIN_REORG) ?? false,
      random: parts.random,
    },
    signal,
  );
}

/** Batches of the member's subscription until the call or the subscription ends. */
async function* deliver(
  member: HubMember,
  rules: FilterRules,
  context: CallContext,
): AsyncGenerator<Encoded<SubscribeResponse>> {
  const subscription = member.subscription();
  if (subscription === undefined) return;
  const stop = (): void => subscription.close(HostError.from(context.signal.reason));
  context.signal.addEventListener('abort', stop, { once: true });
  rules.watch(subscription.filter, (error) => subscription.close(error));
  try {
    for (;;) {
      const batch = await subscription.next();
      if (batch === undefined) return;
      yield new Encoded<SubscribeResponse>(batch);
    }
  } finally {
    context.signal.removeEventListener('abort', stop);
    rules.unwatch();
    subscription.close();
  }
}

/** The checks that Subscribe and UpdateSubscription share. */
interface FilterRules {
  /** @throws FIELD_REQUIRED, OUT_OF_RANGE, UNKNOWN_ENUM, INVALID_REQUEST */
  parse(types: readonly EventType[], topics: readonly string[]): EventFilter;
  /** @throws MISSING_PERMISSION */
  assertPermitted(filter: EventFilter): void;
  /** What the filter needs beside subscribe_events. */
  permissions(filter: EventFilter): Permission[];
  /** Calls back once when a permission that the filter needs is withdrawn; replaces the watch before. */
  watch(filter: EventFilter, onWithdrawn: (error: HostError) => void): void;
  unwatch(): void;
}

function createFilterRules(session: Session, catalogue: EventCatalogue): FilterRules {
  let watches: (() => void)[] = [];
  const needed = (filter: EventFilter): { permission: Permission; type: string }[] => {
    const types = [...filter.types, ...(filter.topics.size > 0 ? [EventType.TOPIC] : [])];
    return types.flatMap((type) => {
      const facts = catalogue.byType(type);
      return facts === undefined || facts.permission === 'NONE'
        ? []
        : [{ permission: facts.permission, type: facts.name }];
    });
  };
  const rules: FilterRules = {
    parse(types, topics) {
      if (types.length === 0 && topics.length === 0) throw new HostError('FIELD_REQUIRED', 'types is not set');
      if (types.length > MAX_TYPES) throw new HostError('OUT_OF_RANGE', `types has over ${MAX_TYPES} entries`);
      if (topics.length > MAX_TOPICS) throw new HostError('OUT_OF_RANGE', `topics has over ${MAX_TOPICS} entries`);
      for (const type of types) {
        if (catalogue.byType(type) === undefined) throw new HostError('UNKNOWN_ENUM', `types has the unknown ${type}`);
        if (type === EventType.TOPIC)
          throw new HostError('INVALID_REQUEST', 'name topics in topics, not TOPIC in types');
      }
      if (!topics.every(isTopic)) throw new HostError('INVALID_REQUEST', 'a topic is not <module>.<topic>');
      return { types: new Set(types), topics: new Set(topics) };
    },
    assertPermitted(filter) {
      const missing = needed(filter).find(({ permission }) => !session.grants.has(permission));
      if (missing === undefined) return;
      const permission = capabilityName(missing.permission);
      throw new HostError('MISSING_PERMISSION', `${missing.type} needs the permission ${permission}`, {
        details: { permission, eventType: missing.type },
      });
    },
    permissions: (filter) => [...new Set(needed(filter).map(({ permission }) => permission))],
    watch(filter, onWithdrawn) {
      rules.unwatch();
      watches = rules.permissions(filter).map((permission) =>
        session.grants.onWithdraw(permission, () =>
          onWithdrawn(
            new HostError('PERMISSION_WITHDRAWN', `the operator took back ${capabilityName(permission)}`, {
              details: { permission: capabilityName(permission) },
            }),
          ),
        ),
      );
    },
    unwatch() {
      for (const stop of watches) stop();
      watches = [];
    },
  };
  return rules;
}

function assertCursor(request: SubscribeRequest, filter: EventFilter): void {
  const { chainCursor } = request;
  if (chainCursor.length === 0) return;
  if (chainCursor.length > MAX_CURSOR_HASHES) {
    throw new HostError('OUT_OF_RANGE', `chain_cursor has over ${MAX_CURSOR_HASHES} hashes`);
  }
  if (chainCursor.some((hash) => hash.byteLength !== HASH_BYTES)) {
    throw new HostError('INVALID_REQUEST', `a hash of chain_cursor has not ${HASH_BYTES} bytes`);
  }
  assertWalks(filter);
}

function assertWalks(filter: EventFilter): void {
  if (CURSOR_TYPES.every((type) => filter.types.has(type))) return;
  throw new HostError('INVALID_REQUEST', 'a subscription with a chain cursor names NEW_BLOCK and BLOCK_DISCONNECTED');
}

/** The payload of a publication that this module may make. */
function assertPublishable(request: PublishRequest, moduleId: string, catalogue: EventCatalogue): EventPayload {
  const payload = request.event?.payload;
  if (payload === undefined) throw new HostError('FIELD_REQUIRED', 'event has no payload');
  const facts = catalogue.byCase(payload.$case);
  if (facts.publisher !== 'MODULE') throw new HostError('EVENT_RESERVED', `only the host publishes ${facts.name}`);
  assertPayload(facts, payload);
  if (payload.$case === 'topic' && !payload.value.topic.startsWith(`${moduleId}.`)) {
    throw new HostError('EVENT_RESERVED', `the topics of this module begin with ${moduleId}.`);
  }
  // measured with the longest stamp, so that what passes here is never dropped as too large
  const bytes = Event.encode({
    sequence: 2n ** 64n - 1n,
    timeUnixMs: 2n ** 64n - 1n,
    source: moduleId,
    replayed: false,
    payload,
  }).finish().byteLength;
  if (bytes > MAX_EVENT_BYTES) {
    throw new HostError('EVENT_TOO_LARGE', `the event has ${bytes} bytes, the limit is ${MAX_EVENT_BYTES}`);
  }
  return payload;
}

/** A module's accounting in the contract's form. */
export function deliveryResponse(delivery: ModuleDelivery): GetDeliveryStatsResponse {
  return {
    queues: delivery.queues.map((queue) => ({
      queue: queue.queue === 'CHAIN' ? EventQueue.CHAIN : EventQueue.GENERAL,
      published: BigInt(queue.published),
      delivered: BigInt(queue.delivered),
      dropped: BigInt(queue.dropped),
      failed: BigInt(queue.failed),
      queued: BigInt(queue.queued),
      deliveredBytes: BigInt(queue.deliveredBytes),
      droppedBytes: BigInt(queue.droppedBytes),
      queuedBytes: BigInt(queue.queuedBytes),
      maxQueued: BigInt(queue.maxQueued),
      maxQueuedBytes: BigInt(queue.maxQueuedBytes),
      channelFull: BigInt(queue.channelFull),
    })),
    replayed: BigInt(delivery.replayed),
    subscribed: delivery.subscribed,
  };
}
