import { type Gap, GapReason } from '../../gen/ts/modhost/event/v1/event_service.js';
import { EventQueue } from '../../gen/ts/modhost/v1/options.js';
import type { QueueName } from '../contract/event-type.js';
import { type BoundedQueue, createBoundedQueue, type QueueBounds } from '../core/bounded-queue.js';
import type { QueueCounters } from './delivery-stats.js';
import type { EventFrame } from './frame.js';

/** An event on its way to subscribers. */
export interface PublishedEvent {
  readonly sequence: bigint;
  readonly queue: QueueName;
  /** Its bytes, or why it has none that can be sent. */
  readonly encoded: EventFrame | { readonly failure: 'TOO_LARGE' | 'UNSERIALIZABLE'; readonly bytes: number };
}

/** One of a subscription's two queues, with its losses and its part of the session's accounting. */
export interface Lane {
  /** Takes an event or drops it and remembers the gap. Never waits, never throws. */
  offer(event: PublishedEvent): 'queued' | 'dropped';
  /** Sequence and size of the event that waits next, or undefined. */
  next(): { sequence: bigint; frameBytes: number } | undefined;
  /** The frame of the event that waits next, counted as delivered; its place is free for another. */
  take(): Buffer | undefined;
  /** What was taken has reached the transport: `fail` no longer concerns it. */
  settle(): void;
  /** The stream is over: what is inside has failed, and so has what was taken and never reached the transport. */
  fail(): void;
  /** Gaps not told yet, forgotten by this call. */
  tellGaps(): Gap[];
  readonly hasGaps: boolean;
  readonly queued: number;
}

/** Makes an empty lane. `counters` outlive it: they belong to the session. */
export function createLane(name: QueueName, bounds: QueueBounds, counters: QueueCounters): Lane {
  const queue: BoundedQueue<{ sequence: bigint; frame: Buffer }> = createBoundedQueue(bounds);
  let handed = { items: 0, bytes: 0 };
  const gaps = createGapLog(name === 'CHAIN' ? EventQueue.CHAIN : EventQueue.GENERAL);

  const drop = (event: PublishedEvent, reason: GapReason): 'dropped' => {
    counters.dropped += 1;
    counters.droppedBytes += event.encoded.bytes;
    if (reason === GapReason.QUEUE_FULL || reason === GapReason.BYTE_CAP) counters.channelFull += 1;
    gaps.lost(event.sequence, reason);
    return 'dropped';
  };

  return {
    offer(event) {
      counters.published += 1;
      const { encoded } = event;
      if ('failure' in encoded) return drop(event, GapReason[encoded.failure]);
      const outcome = queue.offer({ sequence: event.sequence, frame: encoded.frame }, encoded.bytes);
      if (outcome === 'full') return drop(event, GapReason.QUEUE_FULL);
      if (outcome === 'over-bytes') return drop(event, GapReason.BYTE_CAP);
      counters.queuedBytes = queue.bytes;
      gaps.kept(event.sequence);
      return 'queued';
    },
    next() {
      const waiting = queue.peek();
      return waiting === undefined ? undefined : { sequence: waiting.sequence, frameBytes: waiting.frame.byteLength };
    },
    take() {
      const taken = queue.take();
      if (taken === undefined) return undefined;
      handed = { items: handed.items + 1, bytes: handed.bytes + taken.bytes };
      counters.delivered += 1;
      counters.deliveredBytes += taken.bytes;
      counters.queuedBytes = queue.bytes;
      return taken.item.frame;
    },
    settle() {
      handed = { items: 0, bytes: 0 };
    },
    fail() {
      counters.delivered -= handed.items;
      counters.deliveredBytes -= handed.bytes;
      counters.failed += handed.items + queue.clear().items;
      counters.queuedBytes = 0;
      handed = { items: 0, bytes: 0 };
    },
    tellGaps: () => gaps.tell(),
    get hasGaps() {
      return gaps.pending;
    },
    get queued() {
      return queue.size;
    },
  };
}

interface GapLog {
  kept(sequence: bigint): void;
  lost(sequence: bigint, reason: GapReason): void;
  tell(): Gap[];
  readonly pending: boolean;
}

/**
 * Losses between two events that were kept, one gap per reason: since a full queue keeps nothing, a reader that stands
 * still has at most four gaps for each event in its queue, however much it loses.
 */
function createGapLog(queue: EventQueue): GapLog {
  let told: Gap[] = [];
  let open: Gap[] = [];
  let last = 0n;
  return {
    kept(sequence) {
      last = sequence;
      if (open.length === 0) return;
      told = told.concat(open);
      open = [];
    },
    lost(sequence, reason) {
      const gap = open.find((candidate) => candidate.reason === reason);
      if (gap === undefined) {
        open.push({ afterSequence: last, beforeSequence: sequence + 1n, count: 1n, reason, queue });
      } else {
        gap.count += 1n;
        gap.beforeSequence = sequence + 1n;
      }
      last = sequence;
    },
    tell() {
      const all = told.concat(open);
      told = [];
      open = [];
      return all;
    },
    get pending() {
      return told.length > 0 || open.length > 0;
    },
  };
}
