import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Gap, GapReason, SubscribeResponse } from '../../gen/ts/modhost/event/v1/event_service.js';
import { EventQueue } from '../../gen/ts/modhost/v1/options.js';
import type { EventPayload } from '../../src/contract/event-type.js';
import type { HubMember } from '../../src/events/hub.js';
import type { Subscription } from '../../src/events/subscription.js';
import { CLOSED, createTestHub, EventType, filterOf, newBlock, pullNow, removal, topic } from './harness.js';

/** Seed of the random runs; shown in their titles. */
const SEED = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);

const BOUNDS = { maxItems: 8, maxBytes: 200_000 };
const TYPES = [EventType.NEW_BLOCK, EventType.MEMPOOL_TRANSACTION_REMOVED];
const TOPIC = 'other.news';

/** Payloads of every fate: kept, too large, over the byte cap when some are queued, not to be encoded. */
const PAYLOADS: Readonly<Record<string, (n: number) => EventPayload>> = {
  block: newBlock,
  removal,
  large: () => topic(TOPIC, new Uint8Array(60_000)),
  tooLarge: () => topic(TOPIC, new Uint8Array(70_000)),
  broken: () => ({ $case: 'newBlock', value: { height: -1 } }) as never,
  unheard: (n) => ({ $case: 'newTransaction', value: { txid: new Uint8Array([n & 255]) } }),
};

const step = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(...Object.keys(PAYLOADS)) },
  { weight: 4, arbitrary: fc.constant('pull') },
  { weight: 1, arbitrary: fc.constant('narrow') },
  { weight: 1, arbitrary: fc.constant('widen') },
  { weight: 1, arbitrary: fc.constant('reopen') },
);

function assertSums(member: HubMember): void {
  for (const queue of member.delivery().queues) {
    expect(queue.published).toBe(queue.delivered + queue.dropped + queue.failed + queue.queued);
    expect(queue.queued).toBeLessThanOrEqual(BOUNDS.maxItems);
    expect(queue.queuedBytes).toBeLessThanOrEqual(BOUNDS.maxBytes);
    expect(queue.channelFull).toBeLessThanOrEqual(queue.dropped);
  }
}

/** What one subscription was offered and what it got, to be compared. */
function createLedger() {
  return {
    offered: new Map<EventQueue, bigint[]>(),
    got: new Map<EventQueue, bigint[]>(),
    gaps: [] as Gap[],
    told: 0n,
  };
}

function addTo(map: Map<EventQueue, bigint[]>, queue: EventQueue, sequence: bigint): void {
  map.set(queue, [...(map.get(queue) ?? []), sequence]);
}

describe('the accounting of events', () => {
  it(`holds exactly after every step, and gaps tell precisely what is missing (seed ${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 160 }), async (steps) => {
        const { hub } = createTestHub();
        const member = hub.join('reader', 'reader-1', BOUNDS);
        const wide = filterOf(TYPES, [TOPIC]);
        const open = (): Subscription => member.subscribe({ filter: wide, walk: undefined });
        let subscription = open();
        let ledger = createLedger();
        let pending: Promise<Buffer | undefined> | undefined;

        const receive = (response: SubscribeResponse): void => {
          for (const gap of response.gaps) ledger.told += gap.count;
          ledger.gaps.push(...response.gaps);
          expect(response.droppedTotal).toBe(ledger.told);
          expect(response.live).toBe(true);
          for (const event of response.events) {
            const chain = event.payload?.$case === 'newBlock';
            addTo(ledger.got, chain ? EventQueue.CHAIN : EventQueue.GENERAL, event.sequence);
          }
        };
        const drain = async (): Promise<void> => {
          for (;;) {
            pending ??= subscription.next();
            const bytes = await pullNow(pending);
            assertSums(member);
            if (bytes === undefined) return;
            pending = undefined;
            receive(SubscribeResponse.decode(bytes));
          }
        };
        const assertComplete = (): void => {
          for (const queue of [EventQueue.CHAIN, EventQueue.GENERAL]) {
            const got = ledger.got.get(queue) ?? [];
            const lost = (ledger.offered.get(queue) ?? []).filter((sequence) => !got.includes(sequence));
            expect([...got].sort((a, b) => Number(a - b))).toEqual(got);
            expect(new Set(got).size).toBe(got.length);
            const gaps = ledger.gaps.filter((gap) => gap.queue === queue);
            expect(gaps.reduce((sum, gap) => sum + gap.count, 0n)).toBe(BigInt(lost.length));
            for (const sequence of lost) {
              expect(gaps.some((gap) => gap.afterSequence < sequence && sequence < gap.beforeSequence)).toBe(true);
            }
            for (const gap of gaps) {
              // its bounds are the event before it and its own last event
              expect(lost).toContain(gap.beforeSequence - 1n);
              expect(gap.afterSequence === 0n || (ledger.offered.get(queue) ?? []).includes(gap.afterSequence)).toBe(
                true,
              );
            }
          }
        };

        let n = 0;
        for (const name of steps) {
          const payload = PAYLOADS[name];
          if (payload !== undefined) {
            n += 1;
            const event = payload(n);
            const { sequence, subscribers } = hub.publish(event, { source: 'node' });
            const queue = event.$case === 'newBlock' ? EventQueue.CHAIN : EventQueue.GENERAL;
            if (subscribers > 0) addTo(ledger.offered, queue, sequence);
          } else if (name === 'pull') {
            pending ??= subscription.next();
            const bytes = await pullNow(pending);
            if (bytes !== undefined) {
              pending = undefined;
              receive(SubscribeResponse.decode(bytes));
            }
          } else if (name === 'narrow') {
            member.update(filterOf([EventType.NEW_BLOCK]));
          } else if (name === 'widen') {
            member.update(wide);
          } else {
            await drain();
            assertComplete();
            subscription.close();
            await pending;
            pending = undefined;
            assertSums(member);
            subscription = open();
            ledger = createLedger();
          }
          assertSums(member);
        }
        await drain();
        assertComplete();
        member.leave(CLOSED);
        assertSums(member);
        await expect(pending).rejects.toMatchObject({ reason: 'SESSION_CLOSED' });
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  it('C112: tells each reason as a gap of its own, and keeps the subscription', async () => {
    const { hub, log } = createTestHub();
    const member = hub.join('reader', 'reader-1', BOUNDS);
    const subscription = member.subscribe({ filter: filterOf(TYPES, [TOPIC]), walk: undefined });
    await subscription.next();
    hub.publish(topic(TOPIC, new Uint8Array(65_537)), { source: 'other' });
    hub.publish({ $case: 'mempoolTransactionRemoved', value: { txid: 'x', reason: {} } } as never, { source: 'node' });
    hub.publish(removal(1), { source: 'node' });
    const bytes = await subscription.next();
    const response = SubscribeResponse.decode(bytes ?? new Uint8Array());
    expect(response.gaps.map(({ reason, count }) => [reason, count])).toEqual([
      [GapReason.TOO_LARGE, 1n],
      [GapReason.UNSERIALIZABLE, 1n],
    ]);
    expect(response.events.map((event) => event.sequence)).toEqual([3n]);
    expect(response.droppedTotal).toBe(2n);
    expect(member.delivery().queues[1]).toMatchObject({ dropped: 2, channelFull: 0 });
    expect(log.lines.filter((line) => line.level === 'error')).toHaveLength(1);
    expect(log.lines.filter((line) => line.level === 'warn').length).toBeGreaterThan(0);
  });

  it('counts what was queued or on its way as failed when the stream ends, over several subscriptions', async () => {
    const { hub } = createTestHub();
    const member = hub.join('reader', 'reader-1', BOUNDS);
    const first = member.subscribe({ filter: filterOf(TYPES), walk: undefined });
    await first.next();
    hub.publish(newBlock(1), { source: 'node' });
    await first.next();
    hub.publish(newBlock(2), { source: 'node' });
    first.close();
    const second = member.subscribe({ filter: filterOf(TYPES), walk: undefined });
    await second.next();
    hub.publish(newBlock(3), { source: 'node' });
    await second.next();
    const waiting = second.next();
    expect(member.delivery().queues[0]).toMatchObject({ published: 3, delivered: 1, failed: 2, queued: 0 });
    member.leave(CLOSED);
    await expect(waiting).rejects.toMatchObject({ reason: 'SESSION_CLOSED' });
    expect(hub.getDeliveryStats()).toEqual([]);
  });
});
