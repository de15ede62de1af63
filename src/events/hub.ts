import { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { HostError } from '../contract/error.js';
import type { EventCatalogue, EventPayload, QueueName } from '../contract/event-type.js';
import type { QueueBounds } from '../core/bounded-queue.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { createAccount, type DeliveryAccount } from './account.js';
import type { ChainWalk } from './chain-walk.js';
import type { ModuleDelivery } from './delivery-stats.js';
import { encodeEvent } from './frame.js';
import type { PublishedEvent } from './lane.js';
import { createListener, type HeardEvent, type ListenerInlet, type ListenOptions } from './listener.js';
import { createLoadedModules } from './loaded-modules.js';
import {
  createSubscription,
  type EventFilter,
  MAX_EVENT_BYTES,
  type Subscription,
  WALKED_TYPES,
} from './subscription.js';

/** Source of what the host learned from the node. */
export const SOURCE_NODE = 'node';
/** Source of what the host did or saw itself. */
export const SOURCE_HOST = 'host';

/** How an event was stamped, and how many module subscriptions it was offered to. */
export interface PublishOutcome {
  readonly sequence: bigint;
  readonly timeUnixMs: bigint;
  readonly subscribers: number;
}

/** What a module's subscription begins with. */
export interface SubscribeOptions {
  filter: EventFilter;
  walk: ChainWalk | undefined;
}

/** One session's door to the hub: its account, and its one subscription. */
export interface HubMember {
  /** @throws STREAM_EXISTS, HOST_STOPPING */
  subscribe(options: SubscribeOptions): Subscription;
  /** Replaces the filter; answers the sequence up to which the old one held. @throws NOT_SUBSCRIBED */
  update(filter: EventFilter): bigint;
  subscription(): Subscription | undefined;
  delivery(): ModuleDelivery;
  /** Ends the subscription and gives up the account. Idempotent. */
  leave(why: HostError): void;
}

/** Where events are published, and where subscriptions to them are kept. */
export interface EventHub {
  /**
   * Stamps an event and offers it to everybody who listens to its type. Never waits and never throws: what cannot be
   * encoded or finds no room is dropped for the subscriber concerned, counted and told. Encoded once, and only when a
   * module listens.
   */
  publish(payload: EventPayload, options: { source: string }): PublishOutcome;
  /** Opens the account of a session. */
  join(moduleId: string, instanceId: string, bounds: QueueBounds): HubMember;
  /** Events for the host's own use, the admin socket and programs that embed the host. */
  listen(options?: ListenOptions): AsyncIterableIterator<HeardEvent>;
  /** Events published since the hub began: the last sequence. */
  publishedTotal(): bigint;
  /** Accounting of all sessions that are open. */
  getDeliveryStats(): ModuleDelivery[];
  /** Ends all subscriptions with HOST_STOPPING and takes no more of them; in-process listeners go on until `end`. */
  close(): void;
  readonly closed: boolean;
  /** Ends in-process listeners too, once they have read what waits. */
  end(): void;
}

/** What the hub is made of. */
export interface EventHubOptions {
  clock: Clock;
  log: Logger;
  catalogue: EventCatalogue;
}

/** Makes the hub of one host. */
export function createEventHub({ clock, log, catalogue }: EventHubOptions): EventHub {
  const byType = new Map<EventType, Set<Subscription>>();
  const byTopic = new Map<string, Set<Subscription>>();
  const walkers = new Set<Subscription>();
  const listeners = new Set<ListenerInlet>();
  const members = new Set<HubMember>();
  const accounts = new Map<Subscription, DeliveryAccount>();
  const loaded = createLoadedModules();
  let sequence = 0n;
  let closed = false;

  const index = (subscription: Subscription): void => {
    for (const type of subscription.filter.types) {
      if (!subscription.walks || !WALKED_TYPES.has(type)) addTo(byType, type, subscription);
    }
    for (const topic of subscription.filter.topics) addTo(byTopic, topic, subscription);
    if (subscription.walks) walkers.add(subscription);
  };
  const unindex = (subscription: Subscription): void => {
    for (const type of subscription.filter.types) removeFrom(byType, type, subscription);
    for (const topic of subscription.filter.topics) removeFrom(byTopic, topic, subscription);
    walkers.delete(subscription);
  };

  const replayLoaded = (subscription: Subscription): void =>
    subscription.replay(
      loaded.list().map((value) => ({ $case: 'moduleLoaded', value })),
      SOURCE_HOST,
    );

  const encode = (payload: EventPayload, queue: QueueName, timeUnixMs: bigint, source: string): PublishedEvent => {
    const stamp = { sequence, timeUnixMs, source, replayed: false };
    try {
      const encoded = encodeEvent(payload, stamp);
      if (encoded.bytes <= MAX_EVENT_BYTES) return { sequence, queue, encoded };
      log.warn({ event: payload.$case, source, bytes: encoded.bytes }, 'event dropped: it is too large');
      return { sequence, queue, encoded: { failure: 'TOO_LARGE', bytes: encoded.bytes } };
    } catch (err) {
      log.error({ event: payload.$case, source, err }, 'event dropped: it cannot be encoded');
      return { sequence, queue, encoded: { failure: 'UNSERIALIZABLE', bytes: 0 } };
    }
  };

  const offerToModules = (
    payload: EventPayload,
    type: EventType,
    queue: QueueName,
    timeUnixMs: bigint,
    source: string,
  ): number => {
    const subscribers = payload.$case === 'topic' ? byTopic.get(payload.value.topic) : byType.get(type);
    if (subscribers === undefined || subscribers.size === 0) return 0;
    const event = encode(payload, queue, timeUnixMs, source);
    for (const subscription of subscribers) {
      if (subscription.offer(event) === 'dropped') accounts.get(subscription)?.warnOfDrop(payload.$case);
    }
    return subscribers.size;
  };

  const hub: EventHub = {
    publish(payload, { source }) {
      sequence += 1n;
      const { type, queue } = catalogue.byCase(payload.$case);
      const timeUnixMs = BigInt(Math.trunc(clock.unixMs()));
      loaded.observe(payload);
      const subscribers = offerToModules(payload, type, queue, timeUnixMs, source);
      if (WALKED_TYPES.has(type)) for (const walker of walkers) walker.tipMoved();
      for (const listener of listeners) {
        if (listener.types !== undefined && !listener.types.has(type)) continue;
        listener.offer(type, { sequence, timeUnixMs, source, replayed: false, payload });
      }
      return { sequence, timeUnixMs, subscribers };
    },

    join(moduleId, instanceId, bounds) {
      const account = createAccount({ moduleId, instanceId, bounds, clock, log });
      let subscription: Subscription | undefined;
      const member: HubMember = {
        subscribe({ filter, walk }) {
          if (closed) throw new HostError('HOST_STOPPING', 'the host is stopping');
          if (subscription !== undefined) {
            throw new HostError('STREAM_EXISTS', 'the session has a subscription; use UpdateSubscription');
          }
          subscription = createSubscription({
            filter,
            bounds,
            account,
            walk,
            clock,
            onClose(ended) {
              unindex(ended);
              accounts.delete(ended);
              subscription = undefined;
            },
          });
          accounts.set(subscription, account);
          index(subscription);
          if (filter.types.has(EventType.MODULE_LOADED)) replayLoaded(subscription);
          return subscription;
        },
        update(filter) {
          if (subscription === undefined) {
            throw new HostError('NOT_SUBSCRIBED', 'the session has no subscription; call Subscribe');
          }
          const before = subscription.filter;
          unindex(subscription);
          subscription.setFilter(filter);
          index(subscription);
          if (filter.types.has(EventType.MODULE_LOADED) && !before.types.has(EventType.MODULE_LOADED)) {
            replayLoaded(subscription);
          }
          return sequence;
        },
        subscription: () => subscription,
        delivery: () => account.delivery(subscription),
        leave(why) {
          subscription?.close(why);
          members.delete(member);
        },
      };
      members.add(member);
      return member;
    },

    listen(options = {}) {
      const { inlet, events } = createListener(options, () => listeners.delete(inlet));
      if (!options.signal?.aborted) listeners.add(inlet);
      return events;
    },

    publishedTotal: () => sequence,
    getDeliveryStats: () => [...members].map((member) => member.delivery()),

    close() {
      closed = true;
      for (const member of members) {
        member.subscription()?.close(new HostError('HOST_STOPPING', 'the host is stopping'));
      }
    },

    get closed() {
      return closed;
    },

    end() {
      hub.close();
      for (const listener of [...listeners]) listener.end();
    },
  };
  return hub;
}

function addTo<K>(index: Map<K, Set<Subscription>>, key: K, subscription: Subscription): void {
  const set = index.get(key) ?? new Set();
  set.add(subscription);
  index.set(key, set);
}

function removeFrom<K>(index: Map<K, Set<Subscription>>, key: K, subscription: Subscription): void {
  const set = index.get(key);
  if (set?.delete(subscription) && set.size === 0) index.delete(key);
}
