import type { QueueName } from '../contract/event-type.js';
import type { QueueBounds } from '../core/bounded-queue.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { createQueueCounters, type ModuleDelivery, QUEUE_NAMES, toQueueDelivery } from './delivery-stats.js';
import type { Subscription, SubscriptionAccount } from './subscription.js';

/** Drops are warned of once in this time for each module; the warning has the number of those between. */
export const DROP_WARNING_INTERVAL_MS = 10_000;

/** The account of one session's events, over all its subscriptions. */
export interface DeliveryAccount extends SubscriptionAccount {
  delivery(subscription: Subscription | undefined): ModuleDelivery;
  /** Logs a drop, or counts it for the next warning. */
  warnOfDrop(event: string): void;
}

/** What an account is made of. */
export interface AccountOptions {
  moduleId: string;
  instanceId: string;
  bounds: QueueBounds;
  clock: Clock;
  log: Logger;
}

/** Makes an account with all counters at 0. */
export function createAccount({ moduleId, instanceId, bounds, clock, log }: AccountOptions): DeliveryAccount {
  const counters = { CHAIN: createQueueCounters(), GENERAL: createQueueCounters() };
  let lastWarningMs = Number.NEGATIVE_INFINITY;
  let unwarned = 0;
  const queued = (subscription: Subscription | undefined, queue: QueueName): number =>
    subscription === undefined ? 0 : subscription.queued(queue);
  const account: DeliveryAccount = {
    counters,
    replayed: 0,
    delivery: (subscription) => ({
      moduleId,
      instanceId,
      queues: QUEUE_NAMES.map((queue) => toQueueDelivery(queue, counters[queue], queued(subscription, queue), bounds)),
      replayed: account.replayed,
      subscribed: subscription !== undefined,
    }),
    warnOfDrop(event) {
      unwarned += 1;
      const now = clock.monotonicMs();
      if (now - lastWarningMs < DROP_WARNING_INTERVAL_MS) return;
      lastWarningMs = now;
      log.warn({ module: moduleId, instance: instanceId, event, dropped: unwarned }, 'events dropped for this module');
      unwarned = 0;
    },
  };
  return account;
}
