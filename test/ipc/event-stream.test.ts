import { afterEach, describe, expect, it } from 'vitest';
import {
  EventServiceClient,
  EventServiceService,
  type SubscribeResponse,
} from '../../gen/ts/modhost/event/v1/event_service.js';
import { createSystemClock } from '../../src/core/clock.js';
import { createEventService, DEFAULT_EVENT_LIMITS } from '../../src/services/event.js';
import { createFakeChain } from '../events/fake-chain.js';
import { catalogue, createTestHub, EventType, newBlock, removal, topic } from '../events/harness.js';
import { createRig, type Rig } from './rig.js';

const rigs: Rig[] = [];
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.dispose();
});

/** An event service on a real socket, and a client that can stand still. */
async function createStream() {
  const { hub } = createTestHub();
  // the rig makes the session, which the service needs: bound when both are there
  type Service = ReturnType<typeof createEventService>;
  const bound: { service?: Service } = {};
  const service = (): Service => {
    if (bound.service === undefined) throw new Error('not bound yet');
    return bound.service;
  };
  const impl: Service = {
    subscribe: (request, context) => service().subscribe(request, context),
    updateSubscription: (request, context) => service().updateSubscription(request, context),
    publish: (request, context) => service().publish(request, context),
    getDeliveryStats: (request, context) => service().getDeliveryStats(request, context),
  };
  const rig = await createRig({
    permissions: ['SUBSCRIBE_EVENTS', 'READ_MEMPOOL'],
    services: [{ definition: EventServiceService, impl }],
  });
  rigs.push(rig);
  bound.service = createEventService(rig.session, {
    hub,
    catalogue,
    reader: createFakeChain(),
    limits: DEFAULT_EVENT_LIMITS,
    clock: createSystemClock(),
    random: () => 0.5,
  });
  await rig.open();
  const stream = rig.client(EventServiceClient).subscribe({
    types: [EventType.NEW_BLOCK, EventType.MEMPOOL_TRANSACTION_REMOVED],
    topics: ['other.bulk'],
    chainCursor: [],
  });
  const responses: SubscribeResponse[] = [];
  const errors: { reason: unknown }[] = [];
  stream.on('data', (response: SubscribeResponse) => responses.push(response));
  stream.on('error', (error: Error & { metadata?: { get(key: string): unknown[] } }) =>
    errors.push({ reason: error.metadata?.get('modhost-reason')[0] }),
  );
  await until(() => responses.length > 0);
  const delivery = () => hub.getDeliveryStats()[0];
  return { hub, rig, stream, responses, errors, delivery };
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2_000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('an event stream on a socket', () => {
  it('adds up for a reader that stands still while 20,000 events pass, block by block and gap by gap', async () => {
    const { hub, stream, responses, delivery } = await createStream();
    stream.pause();
    for (let n = 0; n < 20_000; n++) {
      hub.publish(
        n % 1_000 === 0 ? newBlock(n) : n % 2 === 0 ? removal(n) : topic('other.bulk', new Uint8Array(2_000)),
        {
          source: 'node',
        },
      );
      if (n % 50 === 0) await turn();
    }
    for (const queue of delivery()?.queues ?? []) {
      expect(queue.published).toBe(queue.delivered + queue.dropped + queue.failed + queue.queued);
      expect(queue.queued).toBeLessThanOrEqual(100);
    }
    const [chain, general] = delivery()?.queues ?? [];
    expect(chain).toMatchObject({ published: 20, dropped: 0 });
    expect(general?.dropped).toBeGreaterThan(0);
    stream.resume();
    const heard = () => responses.flatMap((response) => response.events);
    const lost = () => responses.at(-1)?.droppedTotal ?? 0n;
    await until(() => BigInt(heard().length) + lost() === 20_000n);
    expect(heard().filter((event) => event.payload?.$case === 'newBlock')).toHaveLength(20);
    const gaps = responses.flatMap((response) => response.gaps);
    expect(gaps.reduce((sum, gap) => sum + gap.count, 0n)).toBe(lost());
    for (const kind of [true, false]) {
      const order = heard().filter((event) => (event.payload?.$case === 'newBlock') === kind);
      expect(order.every((event, i) => i === 0 || event.sequence > (order[i - 1]?.sequence ?? 0n))).toBe(true);
    }
    await until(() => delivery()?.queues.every((queue) => queue.queued === 0) ?? false);
    expect(delivery()?.queues.map((queue) => BigInt(queue.delivered + queue.dropped))).toEqual([20n, 19_980n]);
  });

  it('C095: ends with the reason when a permission of its types is withdrawn', async () => {
    const { rig, errors, hub } = await createStream();
    rig.grants.withdraw('READ_MEMPOOL');
    await until(() => errors.length > 0);
    expect(errors).toEqual([{ reason: 'PERMISSION_WITHDRAWN' }]);
    expect(hub.publish(newBlock(1), { source: 'node' }).subscribers).toBe(0);
  });

  it('C106: is removed when the module closes it', async () => {
    const { stream, hub } = await createStream();
    stream.cancel();
    await until(() => hub.getDeliveryStats()[0]?.subscribed === false);
  });
});
