import { EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { HostError } from '../contract/error.js';
import type { EventPayload, QueueName } from '../contract/event-type.js';
import type { QueueBounds } from '../core/bounded-queue.js';
import type { Clock } from '../core/clock.js';
import type { ChainWalk } from './chain-walk.js';
import type { QueueCounters } from './delivery-stats.js';
import { encodeBatch, encodeEvent, MAX_BATCH_BYTES } from './frame.js';
import { createLane, type Lane, type PublishedEvent } from './lane.js';

/** Largest event, bytes: some dozen fit a queue, and one event never holds up the others. */
export const MAX_EVENT_BYTES = 64 * 1024;
/** Events in each queue by default (founding document: a channel of 100). */
export const MAX_QUEUED_EVENTS = 100;
/** Bytes in each queue by default: 100 events of ordinary size, or 64 of the largest. */
export const MAX_QUEUE_BYTES = 4 * 1024 * 1024;

/** Types that a subscription with a chain cursor hears from its walk, never through a queue. */
export const WALKED_TYPES: ReadonlySet<EventType> = new Set([
  EventType.NEW_BLOCK,
  EventType.BLOCK_DISCONNECTED,
  EventType.CHAIN_REORG,
]);

/** What a subscription lets through. */
export interface EventFilter {
  readonly types: ReadonlySet<EventType>;
  readonly topics: ReadonlySet<string>;
}

/** The part of a session's account that its subscription writes. */
export interface SubscriptionAccount {
  readonly counters: Readonly<Record<QueueName, QueueCounters>>;
  replayed: number;
}

/** The hub's end and the reader's end of one module's event stream. */
export interface Subscription {
  readonly filter: EventFilter;
  readonly walks: boolean;
  /** Takes or drops an event. Never waits, never throws. */
  offer(event: PublishedEvent): 'queued' | 'dropped';
  /** The active chain has changed: a walk has somewhere to go. */
  tipMoved(): void;
  /** Events made for this subscriber alone; they go before whatever waits. */
  replay(payloads: readonly EventPayload[], source: string): void;
  setFilter(filter: EventFilter): void;
  queued(queue: QueueName): number;
  /**
   * The next SubscribeResponse, when there is something to tell; the first one at once. The reader hands it to the
   * transport in the same turn of the event loop. Undefined when the subscription was closed; not to be called while a
   * call is pending.
   *
   * @throws the error that it was closed with
   */
  next(): Promise<Buffer | undefined>;
  /** Ends it: what was queued or taken has failed. Idempotent; the first reason counts. */
  close(error?: HostError): void;
}

/** What a subscription is made of. */
export interface SubscriptionOptions {
  filter: EventFilter;
  bounds: QueueBounds;
  account: SubscriptionAccount;
  walk: ChainWalk | undefined;
  clock: Clock;
  onClose: (subscription: Subscription) => void;
}

/** Makes a subscription that is not attached to any hub. */
export function createSubscription(options: SubscriptionOptions): Subscription {
  const { account, bounds, walk, clock } = options;
  const lanes: readonly Lane[] = [
    createLane('CHAIN', bounds, account.counters.CHAIN),
    createLane('GENERAL', bounds, account.counters.GENERAL),
  ];
  const [chain, general] = lanes as [Lane, Lane];
  const stop = new AbortController();
  let filter = options.filter;
  let first = true;
  let replays: Buffer[] = [];
  let replaysTaken = 0;
  let batches = 0;
  let droppedTold = 0n;
  let closed = false;
  let closedWith: HostError | undefined;
  let wake: (() => void) | undefined;
  let live = walk === undefined;
  let liveTold = false;
  let walked: { frames: Buffer[]; atTip: boolean } | undefined;
  let walking = false;
  let tipIsElsewhere = walk !== undefined;

  const wakeReader = (): void => {
    wake?.();
    wake = undefined;
  };

  const close = (error?: HostError): void => {
    if (closed) return;
    closed = true;
    closedWith = error;
    stop.abort(error);
    for (const lane of lanes) lane.fail();
    replays = [];
    walked = undefined;
    options.onClose(subscription);
    wakeReader();
  };

  const encodeReplay = (payload: EventPayload, source: string): Buffer =>
    encodeEvent(payload, { sequence: 0n, timeUnixMs: BigInt(clock.unixMs()), source, replayed: true }).frame;

  /** Reads ahead once: nothing further is asked of the node until the reader has come for it. */
  const walkOn = (): void => {
    if (walk === undefined || walking || walked !== undefined || !tipIsElsewhere || closed) return;
    walking = true;
    tipIsElsewhere = false;
    walk
      .advance(stop.signal)
      .then(({ events, atTip }) => {
        if (closed) return;
        if (!atTip) tipIsElsewhere = true;
        walked = { frames: events.map((event) => encodeReplay(event, 'node')), atTip };
      })
      .catch((error: unknown) => close(HostError.from(error)))
      .finally(() => {
        walking = false;
        wakeReader();
      });
  };

  /** The batch that was given out last has reached the transport. */
  const settle = (): void => {
    for (const lane of lanes) lane.settle();
    account.replayed += replaysTaken;
    replaysTaken = 0;
  };

  const hasNews = (): boolean =>
    first ||
    replays.length > 0 ||
    (walked !== undefined && (walked.frames.length > 0 || (walked.atTip && !liveTold))) ||
    lanes.some((lane) => lane.hasGaps || lane.next() !== undefined);

  /** Replays, then the walk, then what is queued, in the order of the sequence where both queues wait. */
  const gather = (): Buffer[] => {
    const frames: Buffer[] = [];
    let bytes = 0;
    const fits = (size: number): boolean => frames.length === 0 || bytes + size <= MAX_BATCH_BYTES;
    const add = (frame: Buffer): void => {
      frames.push(frame);
      bytes += frame.byteLength;
    };
    const addAll = (waiting: Buffer[]): boolean => {
      let count = 0;
      for (const frame of waiting) {
        if (!fits(frame.byteLength)) break;
        add(frame);
        count += 1;
      }
      waiting.splice(0, count);
      replaysTaken += count;
      return waiting.length === 0;
    };
    if (!addAll(replays)) return frames;
    if (walked !== undefined) {
      if (!addAll(walked.frames)) return frames;
      if (walked.atTip) live = true;
      walked = undefined;
    }
    for (;;) {
      const lane = earlier(chain, general);
      const next = lane?.next();
      if (lane === undefined || next === undefined || !fits(next.frameBytes)) return frames;
      const frame = lane.take();
      if (frame !== undefined) add(frame);
    }
  };

  const batch = (): Buffer => {
    const frames = gather();
    const gaps = lanes.flatMap((lane) => lane.tellGaps());
    for (const gap of gaps) droppedTold += gap.count;
    const walkFrom = first ? walk?.from : undefined;
    first = false;
    liveTold = live;
    batches += 1;
    const mine = batches;
    // The reader writes what it was given before this turn ends, or never: then the stream was closed in this turn.
    setImmediate(() => {
      if (mine === batches && !closed) settle();
    });
    return encodeBatch(frames, { gaps, droppedTotal: droppedTold, live, walkFrom });
  };

  const subscription: Subscription = {
    get filter() {
      return filter;
    },
    walks: walk !== undefined,
    offer(event) {
      const outcome = (event.queue === 'CHAIN' ? chain : general).offer(event);
      wakeReader();
      return outcome;
    },
    tipMoved() {
      if (walk === undefined) return;
      tipIsElsewhere = true;
      wakeReader();
    },
    replay(payloads, source) {
      if (closed) return;
      for (const payload of payloads) replays.push(encodeReplay(payload, source));
      wakeReader();
    },
    setFilter(next) {
      filter = next;
    },
    queued: (queue) => (queue === 'CHAIN' ? chain : general).queued,
    async next() {
      if (!closed) settle();
      for (;;) {
        if (closed) {
          if (closedWith !== undefined) throw closedWith;
          return undefined;
        }
        // a run that ended at the tip and had nothing to tell is spent
        if (walked !== undefined && walked.frames.length === 0 && (!walked.atTip || liveTold)) walked = undefined;
        // before the queues are looked at: a busy mempool must not starve the chain
        walkOn();
        if (hasNews()) return batch();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        // the rest of this turn's events travels in the same batch
        if (!closed) await new Promise<void>((resolve) => setImmediate(resolve));
      }
    },
    close,
  };
  return subscription;
}

/** The lane whose next event is older, or undefined when nothing waits. */
function earlier(a: Lane, b: Lane): Lane | undefined {
  const nextA = a.next();
  const nextB = b.next();
  if (nextA === undefined) return nextB === undefined ? undefined : b;
  return nextB === undefined || nextA.sequence < nextB.sequence ? a : b;
}
