import type { QueueName } from '../contract/event-type.js';

/** Names of the two queues, in the order in which they are told. */
export const QUEUE_NAMES: readonly QueueName[] = ['CHAIN', 'GENERAL'];

/** Accounting of one queue: published = delivered + dropped + failed + queued, at every moment. */
export interface QueueDelivery {
  readonly queue: QueueName;
  readonly published: number;
  readonly delivered: number;
  readonly dropped: number;
  /** Of `dropped`, those that found the queue full of events or bytes. */
  readonly channelFull: number;
  readonly failed: number;
  readonly queued: number;
  readonly deliveredBytes: number;
  readonly droppedBytes: number;
  readonly queuedBytes: number;
  readonly maxQueued: number;
  readonly maxQueuedBytes: number;
}

/** How the events for one session fared since it began, over all its subscriptions. */
export interface ModuleDelivery {
  readonly moduleId: string;
  readonly instanceId: string;
  readonly queues: readonly QueueDelivery[];
  /** Events sent as replays; outside the accounting of the queues. */
  readonly replayed: number;
  readonly subscribed: boolean;
}

/** Counters of one queue of one session. How much waits is asked of the queue itself, so that the sum is a real check. */
export interface QueueCounters {
  published: number;
  delivered: number;
  dropped: number;
  channelFull: number;
  failed: number;
  deliveredBytes: number;
  droppedBytes: number;
  queuedBytes: number;
}

/** Counters at 0. Plain numbers: 2^53 events are 285 years at a million a second. */
export function createQueueCounters(): QueueCounters {
  return {
    published: 0,
    delivered: 0,
    dropped: 0,
    channelFull: 0,
    failed: 0,
    deliveredBytes: 0,
    droppedBytes: 0,
    queuedBytes: 0,
  };
}

/** The counters as they are told. */
export function toQueueDelivery(
  queue: QueueName,
  counters: QueueCounters,
  queued: number,
  bounds: { maxItems: number; maxBytes: number },
): QueueDelivery {
  return { queue, ...counters, queued, maxQueued: bounds.maxItems, maxQueuedBytes: bounds.maxBytes };
}
