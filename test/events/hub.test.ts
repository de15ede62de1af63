import { describe, expect, it } from 'vitest';
import { GapReason, SubscribeResponse } from '../../gen/ts/modhost/event/v1/event_service.js';
import { EventQueue } from '../../gen/ts/modhost/v1/options.js';
import { MAX_BATCH_BYTES } from '../../src/events/frame.js';
import type { HeardEvent } from '../../src/events/listener.js';
import {
  BOUNDS,
  blockDisconnected,
  CLOSED,
  createTestHub,
  EventType,
  filterOf,
  moduleLoaded,
  moduleUnloaded,
  newBlock,
  pull,
  pullNow,
  removal,
  topic,
  typeName,
} from './harness.js';

const CHAIN = filterOf([EventType.NEW_BLOCK, EventType.BLOCK_DISCONNECTED]);

describe('the event hub', () => {
  it('C104: stamps source, time and one rising sequence on what it publishes', async () => {
    const { hub, clock } = createTestHub();
    const subscription = hub.join('a', 'a-1', BOUNDS).subscribe({ filter: CHAIN, walk: undefined });
    await pull(subscription);
    hub.publish(removal(1), { source: 'node' });
    clock.advance(5);
    const outcome = hub.publish(newBlock(1), { source: 'node' });
    expect(outcome).toEqual({ sequence: 2n, timeUnixMs: 1_700_000_000_005n, subscribers: 1 });
    const { events } = await pull(subscription);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({ sequence: 2n, timeUnixMs: 1_700_000_000_005n, source: 'node', replayed: false });
  });

  it('answers the first pull at once, also with nothing to tell', async () => {
    const { hub } = createTestHub();
    const subscription = hub.join('a', 'a-1', BOUNDS).subscribe({ filter: CHAIN, walk: undefined });
    expect(await pull(subscription)).toEqual({
      events: [],
      gaps: [],
      droppedTotal: 0n,
      live: true,
      walkFrom: new Uint8Array(0),
    });
  });

  it('C105: keeps exactly 100 events for a reader that stands still, counts the rest, and keeps the subscription', async () => {
    const { hub, log } = createTestHub();
    const slow = hub.join('slow', 'slow-1', BOUNDS);
    const quick = hub.join('quick', 'quick-1', BOUNDS);
    const stalled = slow.subscribe({ filter: CHAIN, walk: undefined });
    const reading = quick.subscribe({ filter: CHAIN, walk: undefined });
    await pull(stalled);
    await pull(reading);
    const heard: bigint[] = [];
    for (let height = 1; height <= 10_000; height++) {
      hub.publish(newBlock(height), { source: 'node' });
      if (height % 50 === 0) heard.push(...(await pull(reading)).events.map((event) => event.sequence));
    }
    expect(heard).toHaveLength(10_000);
    expect(slow.delivery().queues[0]).toMatchObject({ published: 10_000, queued: 100, dropped: 9_900, delivered: 0 });
    expect(quick.delivery().queues[0]).toMatchObject({ published: 10_000, dropped: 0 });
    const { events, gaps, droppedTotal } = await pull(stalled);
    expect(events.map((event) => event.sequence)).toEqual(Array.from({ length: 100 }, (_, i) => BigInt(i + 1)));
    expect(gaps).toEqual([
      {
        afterSequence: 100n,
        beforeSequence: 10_001n,
        count: 9_900n,
        reason: GapReason.QUEUE_FULL,
        queue: EventQueue.CHAIN,
      },
    ]);
    expect(droppedTotal).toBe(9_900n);
    // one warning in ten seconds, not one for each event
    expect(log.lines.filter((line) => line.level === 'warn')).toHaveLength(1);
    hub.publish(newBlock(10_001), { source: 'node' });
    expect((await pull(stalled)).events.map((event) => event.sequence)).toEqual([10_001n]);
  });

  it('tells a gap also when no event follows', async () => {
    const { hub } = createTestHub();
    const member = hub.join('a', 'a-1', { maxItems: 10, maxBytes: 250 });
    const subscription = member.subscribe({ filter: CHAIN, walk: undefined });
    await pull(subscription);
    hub.publish(newBlock(1), { source: 'node' });
    expect((await pull(subscription)).events).toHaveLength(1);
    // one block fits, two do not
    hub.publish(newBlock(2), { source: 'node' });
    hub.publish(newBlock(3), { source: 'node' });
    expect(await pull(subscription)).toMatchObject({
      events: [{ sequence: 2n }],
      gaps: [{ reason: GapReason.BYTE_CAP }],
    });
    const small = hub.join('b', 'b-1', { maxItems: 10, maxBytes: 10 }).subscribe({ filter: CHAIN, walk: undefined });
    await pull(small);
    hub.publish(newBlock(4), { source: 'node' });
    expect(await pull(small)).toMatchObject({
      events: [],
      droppedTotal: 1n,
      gaps: [{ afterSequence: 0n, beforeSequence: 5n, count: 1n, reason: GapReason.BYTE_CAP }],
    });
  });

  it('loses no block and no life-cycle event to 5,000 removals from the mempool', async () => {
    const { hub } = createTestHub();
    const member = hub.join('a', 'a-1', BOUNDS);
    const filter = filterOf([EventType.NEW_BLOCK, EventType.MODULE_CRASHED, EventType.MEMPOOL_TRANSACTION_REMOVED]);
    const subscription = member.subscribe({ filter, walk: undefined });
    await pull(subscription);
    for (let n = 0; n < 2_500; n++) hub.publish(removal(n), { source: 'node' });
    hub.publish(newBlock(1), { source: 'node' });
    for (let n = 2_500; n < 5_000; n++) hub.publish(removal(n), { source: 'node' });
    hub.publish(newBlock(2), { source: 'node' });
    const { events, gaps } = await pull(subscription);
    expect(events.filter((event) => typeName(event) === 'NEW_BLOCK')).toHaveLength(2);
    expect(gaps.every((gap) => gap.queue === EventQueue.GENERAL)).toBe(true);
    expect(member.delivery().queues[0]).toMatchObject({ queue: 'CHAIN', published: 2, dropped: 0 });
    expect(member.delivery().queues[1]).toMatchObject({ queue: 'GENERAL', published: 5_000, dropped: 4_900 });
  });

  it('C106: removes a subscriber that closes with events waiting, counts them as failed, and serves the others', async () => {
    const { hub } = createTestHub();
    const a = hub.join('a', 'a-1', BOUNDS);
    const b = hub.join('b', 'b-1', BOUNDS);
    const first = a.subscribe({ filter: CHAIN, walk: undefined });
    const second = b.subscribe({ filter: CHAIN, walk: undefined });
    await pull(first);
    await pull(second);
    for (let height = 1; height <= 10; height++) hub.publish(newBlock(height), { source: 'node' });
    first.close();
    hub.publish(newBlock(11), { source: 'node' });
    expect(await first.next()).toBeUndefined();
    expect(a.delivery()).toMatchObject({ subscribed: false, queues: [{ published: 10, failed: 10, queued: 0 }, {}] });
    expect((await pull(second)).events).toHaveLength(11);
  });

  it('C107: delivers once what was asked for twice', async () => {
    const { hub } = createTestHub();
    const filter = filterOf([EventType.NEW_BLOCK, EventType.NEW_BLOCK], ['a.x', 'a.x']);
    const subscription = hub.join('a', 'a-1', BOUNDS).subscribe({ filter, walk: undefined });
    await pull(subscription);
    hub.publish(newBlock(1), { source: 'node' });
    hub.publish(topic('a.x'), { source: 'a' });
    hub.publish(topic('a.y'), { source: 'a' });
    expect((await pull(subscription)).events.map((event) => event.sequence)).toEqual([1n, 2n]);
  });

  it('C108: has no duplicate and no reordering for one who subscribes in the middle of the stream', async () => {
    const { hub } = createTestHub();
    const seen: bigint[] = [];
    let lost = 0n;
    let first = 0n;
    let subscription: ReturnType<ReturnType<typeof hub.join>['subscribe']> | undefined;
    for (let n = 0; n < 3_000; n++) {
      if (n === 1_000) {
        subscription = hub.join('late', 'late-1', BOUNDS).subscribe({
          filter: filterOf([EventType.MEMPOOL_TRANSACTION_REMOVED]),
          walk: undefined,
        });
        await pull(subscription);
      }
      const { sequence } = hub.publish(removal(n), { source: 'node' });
      if (n === 1_000) first = sequence;
      if (subscription !== undefined && n % 170 === 0) {
        const response = await pull(subscription);
        seen.push(...response.events.map((event) => event.sequence));
        lost = response.droppedTotal;
      }
    }
    const rest = subscription === undefined ? undefined : await pullNow(subscription.next());
    const last = SubscribeResponse.decode(rest ?? new Uint8Array());
    seen.push(...last.events.map((event) => event.sequence));
    if (rest !== undefined) lost = last.droppedTotal;
    expect(seen[0]).toBe(first);
    expect(seen.every((sequence, i) => i === 0 || sequence > (seen[i - 1] ?? 0n))).toBe(true);
    expect(BigInt(seen.length) + lost).toBe(2_000n);
    expect(lost).toBeGreaterThan(0n);
  });

  it('C109: replays what is loaded before any other event, then tells each its own ModuleLoaded once', async () => {
    const { hub } = createTestHub();
    for (const name of ['first', 'gone', 'second']) hub.publish(moduleLoaded(name), { source: 'host' });
    hub.publish(moduleUnloaded('gone'), { source: 'host' });
    const filter = filterOf([EventType.MODULE_LOADED, EventType.NEW_BLOCK]);
    const member = hub.join('late', 'late-1', BOUNDS);
    const subscription = member.subscribe({ filter, walk: undefined });
    hub.publish(newBlock(1), { source: 'node' });
    hub.publish(moduleLoaded('late'), { source: 'host' });
    const { events } = await pull(subscription);
    const told = events.map(({ payload, replayed, sequence }) => [
      payload?.$case === 'moduleLoaded' ? payload.value.moduleName : 'block',
      replayed,
      sequence,
    ]);
    expect(told).toEqual([
      ['first', true, 0n],
      ['second', true, 0n],
      ['block', false, 5n],
      ['late', false, 6n],
    ]);
    await pullNow(subscription.next());
    expect(member.delivery()).toMatchObject({ replayed: 2, queues: [{ published: 2, delivered: 2 }, {}] });
  });

  it('C110: gives the old stream of a reloaded module nothing of what comes after it', async () => {
    const { hub } = createTestHub();
    const old = hub.join('a', 'a-1', BOUNDS);
    const before = old.subscribe({ filter: CHAIN, walk: undefined });
    await pull(before);
    hub.publish(newBlock(1), { source: 'node' });
    old.leave(CLOSED);
    const now = hub.join('a', 'a-2', BOUNDS);
    const after = now.subscribe({ filter: CHAIN, walk: undefined });
    hub.publish(newBlock(2), { source: 'node' });
    await expect(before.next()).rejects.toMatchObject({ reason: 'SESSION_CLOSED' });
    expect((await pull(after)).events.map((event) => event.sequence)).toEqual([2n]);
    expect(hub.getDeliveryStats().map((delivery) => delivery.instanceId)).toEqual(['a-2']);
  });

  it('C111: keeps the order of a burst of disconnects and connects', async () => {
    const { hub } = createTestHub();
    const subscription = hub.join('a', 'a-1', BOUNDS).subscribe({ filter: CHAIN, walk: undefined });
    await pull(subscription);
    const expected: string[] = [];
    for (let height = 40; height > 0; height--) {
      hub.publish(blockDisconnected(height), { source: 'node' });
      expected.push(`-${height}`);
    }
    for (let height = 1; height <= 41; height++) {
      hub.publish(newBlock(height), { source: 'node' });
      expected.push(`+${height}`);
    }
    const { events } = await pull(subscription);
    const told = events.map(({ payload }) =>
      payload?.$case === 'newBlock'
        ? `+${payload.value.height}`
        : payload?.$case === 'blockDisconnected'
          ? `-${payload.value.height}`
          : '?',
    );
    expect(told).toEqual(expected);
  });

  it('interleaves the two queues by sequence', async () => {
    const { hub } = createTestHub();
    const filter = filterOf([EventType.NEW_BLOCK, EventType.MEMPOOL_TRANSACTION_REMOVED]);
    const subscription = hub.join('a', 'a-1', BOUNDS).subscribe({ filter, walk: undefined });
    await pull(subscription);
    for (let n = 1; n <= 20; n++) hub.publish(n % 3 === 0 ? newBlock(n) : removal(n), { source: 'node' });
    const { events } = await pull(subscription);
    expect(events.map((event) => event.sequence)).toEqual(Array.from({ length: 20 }, (_, i) => BigInt(i + 1)));
  });

  it('fills a batch up to 1 MiB and no further', async () => {
    const { hub } = createTestHub();
    const filter = filterOf([], ['a.big']);
    const subscription = hub.join('a', 'a-1', BOUNDS).subscribe({ filter, walk: undefined });
    await pull(subscription);
    for (let n = 0; n < 40; n++) hub.publish(topic('a.big', new Uint8Array(60_000).fill(n)), { source: 'a' });
    let events = 0;
    while (events < 40) {
      const batch = await subscription.next();
      expect(batch?.byteLength ?? 0).toBeLessThanOrEqual(MAX_BATCH_BYTES);
      events += SubscribeResponse.decode(batch ?? new Uint8Array()).events.length;
    }
    expect(events).toBe(40);
  });

  it('gathers what one turn publishes into one response', async () => {
    const { hub } = createTestHub();
    const subscription = hub.join('a', 'a-1', BOUNDS).subscribe({ filter: CHAIN, walk: undefined });
    await pull(subscription);
    const pending = pull(subscription);
    for (let height = 1; height <= 5; height++) {
      hub.publish(newBlock(height), { source: 'node' });
      await Promise.resolve();
    }
    expect((await pending).events).toHaveLength(5);
  });

  it('changes its filter without losing what both filters let through', async () => {
    const { hub } = createTestHub();
    const member = hub.join('a', 'a-1', BOUNDS);
    const subscription = member.subscribe({ filter: CHAIN, walk: undefined });
    hub.publish(moduleLoaded('b'), { source: 'host' });
    hub.publish(newBlock(1), { source: 'node' });
    expect(member.update(filterOf([EventType.NEW_BLOCK, EventType.MODULE_LOADED]))).toBe(2n);
    hub.publish(blockDisconnected(1), { source: 'node' });
    hub.publish(newBlock(1), { source: 'node' });
    expect((await pull(subscription)).events.map((event) => [typeName(event), event.sequence])).toEqual([
      ['MODULE_LOADED', 0n],
      ['NEW_BLOCK', 2n],
      ['NEW_BLOCK', 4n],
    ]);
    // not new among the types this time: nothing is replayed
    member.update(filterOf([EventType.MODULE_LOADED]));
    expect(await pullNow(subscription.next())).toBeUndefined();
    member.leave(CLOSED);
    expect(() => member.update(CHAIN)).toThrowError(expect.objectContaining({ reason: 'NOT_SUBSCRIBED' }));
  });

  it('touches nothing of an event to which nobody listens', () => {
    const { hub, log } = createTestHub();
    hub.join('a', 'a-1', BOUNDS).subscribe({ filter: CHAIN, walk: undefined });
    const untouchable = {
      $case: 'mempoolTransactionRemoved',
      get value(): never {
        throw new Error('read');
      },
    } as never;
    expect(hub.publish(untouchable, { source: 'node' }).subscribers).toBe(0);
    expect(log.lines).toEqual([]);
  });

  it('encodes an event once for all its subscribers', async () => {
    const { hub } = createTestHub();
    const subscriptions = Array.from({ length: 20 }, (_, i) =>
      hub.join(`m${i}`, `m${i}-1`, BOUNDS).subscribe({ filter: CHAIN, walk: undefined }),
    );
    await Promise.all(subscriptions.map(pull));
    let reads = 0;
    const block = newBlock(1);
    const counted = {
      ...block,
      value: Object.defineProperty({ ...block.value }, 'header', {
        get() {
          reads += 1;
          return new Uint8Array(80);
        },
      }),
    } as typeof block;
    hub.publish(counted, { source: 'node' });
    const readsOfOne = reads;
    for (const subscription of subscriptions) expect((await pull(subscription)).events).toHaveLength(1);
    expect(reads).toBe(readsOfOne);
  });

  it('serves listeners in the same process, bounded and by type', async () => {
    const { hub } = createTestHub();
    const end = new AbortController();
    const all = hub.listen({ signal: end.signal });
    const blocks = hub.listen({ types: new Set([EventType.NEW_BLOCK]), maxQueued: 2 });
    for (let height = 1; height <= 5; height++) {
      hub.publish(newBlock(height), { source: 'node' });
      hub.publish(removal(height), { source: 'node' });
    }
    expect((await blocks.next()).value).toMatchObject({ type: EventType.NEW_BLOCK, missed: 0 });
    hub.publish(newBlock(6), { source: 'node' });
    expect((await blocks.next()).value).toMatchObject({ missed: 0 });
    expect((await blocks.next()).value).toMatchObject({ missed: 3, event: { sequence: 11n } });
    const heard: HeardEvent[] = [];
    setImmediate(() => end.abort());
    for await (const event of all) heard.push(event);
    expect(heard).toHaveLength(11);
    const late = blocks.next();
    hub.end();
    expect((await late).done).toBe(true);
    expect((await hub.listen({ signal: end.signal }).next()).done).toBe(true);
  });

  it('ends its subscriptions when the host stops, and lets in-process listeners hear the last event', async () => {
    const { hub } = createTestHub();
    const member = hub.join('a', 'a-1', BOUNDS);
    const subscription = member.subscribe({ filter: CHAIN, walk: undefined });
    await pull(subscription);
    const pending = subscription.next();
    const listener = hub.listen();
    hub.close();
    await expect(pending).rejects.toMatchObject({ reason: 'HOST_STOPPING' });
    expect(() => member.subscribe({ filter: CHAIN, walk: undefined })).toThrowError(
      expect.objectContaining({ reason: 'HOST_STOPPING' }),
    );
    hub.publish({ $case: 'nodeShutdownCompleted', value: { durationMs: 1n } }, { source: 'host' });
    expect((await listener.next()).value).toMatchObject({ type: EventType.NODE_SHUTDOWN_COMPLETED });
  });
});
