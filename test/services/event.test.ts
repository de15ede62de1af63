import { describe, expect, it } from 'vitest';
import { type Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { type SubscribeRequest, SubscribeResponse } from '../../gen/ts/modhost/event/v1/event_service.js';
import { EventQueue } from '../../gen/ts/modhost/v1/options.js';
import { HostError } from '../../src/contract/error.js';
import type { EventPayload } from '../../src/contract/event-type.js';
import type { Permission } from '../../src/contract/permission.js';
import type { CallContext, Encoded } from '../../src/contract/service.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { MAX_EVENT_BYTES } from '../../src/events/subscription.js';
import { createEventService, DEFAULT_EVENT_LIMITS } from '../../src/services/event.js';
import { isTopic } from '../../src/services/event-payload.js';
import { createGrants } from '../../src/session/grants.js';
import { createCallQuota } from '../../src/session/quota.js';
import { createSession } from '../../src/session/session.js';
import { createFakeChain } from '../events/fake-chain.js';
import { catalogue, createTestHub, hashOf, moduleLoaded, newBlock, removal, topic } from '../events/harness.js';

const CHAIN_TYPES = [EventType.NEW_BLOCK, EventType.BLOCK_DISCONNECTED];

/** A module's session with its event service, as the host wires them. */
function openModule(granted: Permission[] = [], shared = createTestHub()) {
  const { hub, clock } = shared;
  const chain = createFakeChain();
  const grants = createGrants(granted);
  const session = createSession({
    identity: { moduleId: 'fee-watcher', instanceId: 'fee-watcher-1', version: '1.0.0' },
    token: new Uint8Array(32),
    grants,
    quota: createCallQuota({ ratePerSecond: 1_000, burst: 1_000, maxInFlight: 100 }, clock),
    listener: { opened() {}, starting() {}, ready() {}, suspicious() {} },
    clock,
    log: createSilentLogger(),
  });
  const service = createEventService(session, {
    hub,
    catalogue,
    reader: chain,
    limits: DEFAULT_EVENT_LIMITS,
    clock,
    random: () => 0.5,
  });
  const subscribe = (request: Partial<SubscribeRequest>) => {
    const call = createCall();
    const stream = service.subscribe({ types: [], topics: [], chainCursor: [], ...request }, call.context);
    const iterator = stream[Symbol.asyncIterator]();
    return {
      ...call,
      iterator,
      async next(): Promise<SubscribeResponse> {
        const { value, done } = await iterator.next();
        if (done === true) throw new Error('the stream has ended');
        return SubscribeResponse.decode((value as Encoded<SubscribeResponse>).bytes);
      },
    };
  };
  const publish = (payload: EventPayload | undefined, stamps: Partial<Event> = {}) =>
    service.publish(
      { event: { sequence: 0n, timeUnixMs: 0n, source: '', replayed: false, ...stamps, payload } },
      createCall().context,
    );
  return { hub, clock, chain, grants, session, service, subscribe, publish };
}

function createCall() {
  const controller = new AbortController();
  const context: CallContext = { method: 'test', signal: controller.signal, timeLeftMs: () => Infinity };
  return { context, cancel: (why: HostError) => controller.abort(why) };
}

const reason = (name: string) => expect.objectContaining({ reason: name });

describe('EventService.Subscribe', () => {
  it.each<[string, string, Partial<SubscribeRequest>]>([
    ['C107: no types', 'FIELD_REQUIRED', {}],
    ['an unknown type', 'UNKNOWN_ENUM', { types: [9_999 as EventType] }],
    ['UNSPECIFIED', 'UNKNOWN_ENUM', { types: [EventType.UNSPECIFIED] }],
    ['C107: 10,000 types', 'OUT_OF_RANGE', { types: new Array(10_000).fill(EventType.NEW_BLOCK) }],
    ['65 topics', 'OUT_OF_RANGE', { topics: new Array(65).fill('a.b') }],
    ['33 cursor hashes', 'OUT_OF_RANGE', { types: CHAIN_TYPES, chainCursor: new Array(33).fill(hashOf(1)) }],
    ['a malformed topic', 'INVALID_REQUEST', { topics: ['a.*'] }],
    ['TOPIC among the types', 'INVALID_REQUEST', { types: [EventType.TOPIC] }],
    ['a short cursor hash', 'INVALID_REQUEST', { types: CHAIN_TYPES, chainCursor: [new Uint8Array(31)] }],
    ['a cursor for connects alone', 'INVALID_REQUEST', { types: [EventType.NEW_BLOCK], chainCursor: [hashOf(1)] }],
    ['a cursor of another chain', 'CURSOR_UNKNOWN', { types: CHAIN_TYPES, chainCursor: [hashOf(1)] }],
  ])('refuses %s', async (_, expected, request) => {
    const { hub, subscribe } = openModule();
    await expect(subscribe(request).next()).rejects.toMatchObject({ reason: expected });
    expect(hub.getDeliveryStats()[0]?.subscribed).toBe(false);
  });

  it('C096: refuses the whole call for one forbidden type, and subscribes to nothing', async () => {
    const { hub, subscribe } = openModule(['READ_MEMPOOL']);
    const types = [EventType.NEW_BLOCK, EventType.MEMPOOL_TRANSACTION_ADDED, EventType.PEER_CONNECTED];
    await expect(subscribe({ types }).next()).rejects.toMatchObject({
      reason: 'MISSING_PERMISSION',
      details: { permission: 'read_network', eventType: 'PEER_CONNECTED' },
    });
    expect(hub.publish(newBlock(1), { source: 'node' }).subscribers).toBe(0);
    const granted = openModule(['READ_MEMPOOL', 'READ_NETWORK']);
    expect((await granted.subscribe({ types }).next()).live).toBe(true);
  });

  it('asks for each guarded type the permission that the contract declares', async () => {
    for (const facts of catalogue.all) {
      if (facts.type === EventType.TOPIC) continue;
      const bare = openModule().subscribe({ types: [facts.type] });
      if (facts.permission === 'NONE') expect((await bare.next()).events, facts.name).toEqual([]);
      else {
        await expect(bare.next(), facts.name).rejects.toMatchObject({ reason: 'MISSING_PERMISSION' });
        await openModule([facts.permission])
          .subscribe({ types: [facts.type] })
          .next();
      }
    }
  });

  it('allows one subscription per session, also while the cursor of the first is being looked up', async () => {
    const { chain, subscribe } = openModule();
    const request = { types: CHAIN_TYPES, chainCursor: [chain.extend().hash] };
    const first = subscribe(request).next();
    await expect(subscribe(request).next()).rejects.toMatchObject({ reason: 'STREAM_EXISTS' });
    await first;
    await expect(subscribe(request).next()).rejects.toMatchObject({ reason: 'STREAM_EXISTS' });
  });

  it('leaves the place free when it fails, is closed or cancelled', async () => {
    const { hub, chain, subscribe } = openModule();
    chain.trouble = new HostError('NODE_UNAVAILABLE', 'gone');
    const cursor = { types: CHAIN_TYPES, chainCursor: [chain.active()[0]?.hash ?? hashOf(0)] };
    await expect(subscribe(cursor).next()).rejects.toMatchObject({ reason: 'NODE_UNAVAILABLE' });
    const first = subscribe({ types: CHAIN_TYPES });
    await first.next();
    await first.iterator.return?.();
    const second = subscribe({ types: CHAIN_TYPES });
    await second.next();
    const pending = second.next();
    second.cancel(new HostError('CANCELLED', 'gone'));
    await expect(pending).rejects.toMatchObject({ reason: 'CANCELLED' });
    await subscribe({ types: CHAIN_TYPES }).next();
    expect(hub.publish(newBlock(1), { source: 'node' }).subscribers).toBe(1);
  });

  it('is removed at once when the call is cancelled while nobody pulls', async () => {
    const { hub, subscribe } = openModule();
    const stream = subscribe({ types: CHAIN_TYPES });
    await stream.next();
    stream.cancel(new HostError('CANCELLED', 'gone'));
    expect(hub.publish(newBlock(1), { source: 'node' }).subscribers).toBe(0);
  });

  it('C095: ends when the operator takes back a permission that its types need', async () => {
    const { grants, hub, subscribe } = openModule(['READ_MEMPOOL', 'READ_NETWORK']);
    const stream = subscribe({ types: [EventType.NEW_BLOCK, EventType.MEMPOOL_TRANSACTION_REMOVED] });
    await stream.next();
    grants.withdraw('READ_NETWORK');
    hub.publish(removal(1), { source: 'node' });
    expect((await stream.next()).events).toHaveLength(1);
    const pending = stream.next();
    grants.withdraw('READ_MEMPOOL');
    await expect(pending).rejects.toMatchObject({ reason: 'PERMISSION_WITHDRAWN' });
    expect(hub.publish(removal(2), { source: 'node' }).subscribers).toBe(0);
  });

  it('C100: ends with the session, and the account with it', async () => {
    const { hub, session, subscribe } = openModule(['READ_MEMPOOL']);
    const stream = subscribe({ types: [EventType.MEMPOOL_TRANSACTION_REMOVED] });
    await stream.next();
    const pending = stream.next();
    session.close(new HostError('SESSION_CLOSED', 'unloaded'));
    await expect(pending).rejects.toMatchObject({ reason: 'SESSION_CLOSED' });
    expect(hub.getDeliveryStats()).toEqual([]);
  });

  it('walks from the cursor and goes on with the chain', async () => {
    const { chain, hub, subscribe } = openModule();
    const start = chain.extend(3);
    chain.extend(2);
    const stream = subscribe({ types: CHAIN_TYPES, chainCursor: [hashOf('lost'), start.hash] });
    expect((await stream.next()).walkFrom).toEqual(Buffer.from(start.hash));
    const walked = await stream.next();
    expect(walked.events.map((event) => event.replayed)).toEqual([true, true]);
    expect(walked.live).toBe(true);
    const tip = chain.extend();
    hub.publish(newBlock(6), { source: 'node' });
    const { events } = await stream.next();
    expect(events).toMatchObject([{ payload: { $case: 'newBlock', value: { blockHash: Buffer.from(tip.hash) } } }]);
  });

  it('refuses when the host is stopping', async () => {
    const { hub, subscribe, publish } = openModule();
    hub.close();
    await expect(subscribe({ types: CHAIN_TYPES }).next()).rejects.toMatchObject({ reason: 'HOST_STOPPING' });
    await expect(publish(topic('fee-watcher.x'))).rejects.toMatchObject({ reason: 'HOST_STOPPING' });
  });
});

describe('EventService.UpdateSubscription', () => {
  it('replaces the filter, checks it as Subscribe does, and changes nothing when it refuses', async () => {
    const { hub, service, subscribe } = openModule();
    const { context } = createCall();
    const update = (types: EventType[], topics: string[] = []) =>
      service.updateSubscription({ types, topics }, context);
    await expect(update(CHAIN_TYPES)).rejects.toMatchObject({ reason: 'NOT_SUBSCRIBED' });
    const stream = subscribe({ types: CHAIN_TYPES });
    await stream.next();
    await expect(update([])).rejects.toMatchObject({ reason: 'FIELD_REQUIRED' });
    await expect(update([EventType.PEER_CONNECTED])).rejects.toMatchObject({ reason: 'MISSING_PERMISSION' });
    hub.publish(newBlock(1), { source: 'node' });
    hub.publish(moduleLoaded('other'), { source: 'host' });
    expect(await update([EventType.NEW_BLOCK, EventType.MODULE_LOADED])).toEqual({ afterSequence: 2n });
    hub.publish(newBlock(2), { source: 'node' });
    const { events } = await stream.next();
    expect(events.map((event) => [event.payload?.$case, event.sequence])).toEqual([
      ['moduleLoaded', 0n],
      ['newBlock', 1n],
      ['newBlock', 3n],
    ]);
  });

  it('keeps the chain types of a subscription with a cursor', async () => {
    const { chain, service, subscribe } = openModule();
    await subscribe({ types: CHAIN_TYPES, chainCursor: [chain.extend().hash] }).next();
    const request = { types: [EventType.NEW_BLOCK], topics: [] };
    await expect(service.updateSubscription(request, createCall().context)).rejects.toMatchObject({
      reason: 'INVALID_REQUEST',
    });
  });

  it('watches the permissions of the new filter instead of those of the old', async () => {
    const { grants, service, subscribe } = openModule(['READ_MEMPOOL', 'READ_NETWORK']);
    const stream = subscribe({ types: [EventType.MEMPOOL_CLEARED] });
    await stream.next();
    await service.updateSubscription({ types: [EventType.PEER_BANNED], topics: [] }, createCall().context);
    grants.withdraw('READ_MEMPOOL');
    const pending = stream.next();
    grants.withdraw('READ_NETWORK');
    await expect(pending).rejects.toMatchObject({
      reason: 'PERMISSION_WITHDRAWN',
      details: { permission: 'read_network' },
    });
  });
});

describe('EventService.Publish', () => {
  it('C103: reserves the events of host and node, and the topics of others', async () => {
    const { publish } = openModule();
    await expect(publish(newBlock(1))).rejects.toEqual(reason('EVENT_RESERVED'));
    await expect(
      publish({
        $case: 'moduleCrashed',
        value: { moduleName: 'x', instanceId: '', version: '', error: '', exitCode: 0, signal: '' },
      }),
    ).rejects.toEqual(reason('EVENT_RESERVED'));
    await expect(publish(topic('other.news'))).rejects.toEqual(reason('EVENT_RESERVED'));
    await expect(publish(topic('fee-watcher-two.news'))).rejects.toEqual(reason('EVENT_RESERVED'));
    for (const facts of catalogue.all) {
      if (facts.publisher === 'MODULE') continue;
      await expect(publish({ $case: facts.payloadCase, value: {} } as never), facts.name).rejects.toEqual(
        reason('EVENT_RESERVED'),
      );
    }
  });

  it('C104: stamps source, time and sequence whatever the module says', async () => {
    const { publish, subscribe } = openModule();
    const stream = subscribe({ topics: ['fee-watcher.sample'] });
    await stream.next();
    const forged = { sequence: 77n, timeUnixMs: 1n, source: 'node', replayed: true };
    const outcome = await publish(topic('fee-watcher.sample', 'x'), forged);
    expect(outcome).toEqual({ sequence: 1n, timeUnixMs: 1_700_000_000_000n, subscribers: 1 });
    expect((await stream.next()).events).toMatchObject([
      { sequence: 1n, timeUnixMs: 1_700_000_000_000n, source: 'fee-watcher', replayed: false },
    ]);
  });

  it.each<[string, string, EventPayload | undefined]>([
    ['no payload', 'FIELD_REQUIRED', undefined],
    ['a topic without a dot', 'INVALID_REQUEST', topic('fee-watcher')],
    ['a topic in capitals', 'INVALID_REQUEST', topic('fee-watcher.Sample')],
    [
      'a short hash',
      'INVALID_REQUEST',
      { $case: 'blockMined', value: { blockHash: new Uint8Array(31), height: 1, minerId: '' } },
    ],
    [
      'a key that is no key',
      'INVALID_REQUEST',
      { $case: 'channelOpened', value: { channelId: 'c', peerPubkey: new Uint8Array(32), capacitySats: 1n } },
    ],
    [
      'a share that is no number',
      'INVALID_REQUEST',
      { $case: 'vetoThresholdReached', value: { proposalId: 'p', vetoPercent: Number.NaN } },
    ],
    [
      'an enum value of the future',
      'UNKNOWN_ENUM',
      { $case: 'governanceProposalVoted', value: { proposalId: 'p', voter: 'v', vote: 99 as never } },
    ],
    [
      'an enum value that is never sent',
      'UNKNOWN_ENUM',
      { $case: 'governanceProposalVoted', value: { proposalId: 'p', voter: 'v', vote: 0 } },
    ],
    ['C112: an event over 64 KiB', 'EVENT_TOO_LARGE', topic('fee-watcher.x', new Uint8Array(MAX_EVENT_BYTES))],
  ])('refuses %s', async (_, expected, payload) => {
    await expect(openModule().publish(payload)).rejects.toMatchObject({ reason: expected });
  });

  it('takes what follows the rules', async () => {
    const { publish } = openModule();
    const payloads: EventPayload[] = [
      { $case: 'blockMined', value: { blockHash: hashOf(1), height: 1, minerId: 'me' } },
      { $case: 'economicNodeRegistered', value: { nodeId: 'n', nodeType: 1, hashpowerPercent: undefined } },
      { $case: 'routeDiscovered', value: { destination: hashOf(1), routePath: ['a'], routeCost: 1n } },
      topic('fee-watcher.x', new Uint8Array(65_000)),
    ];
    for (const payload of payloads) expect(await publish(payload)).toMatchObject({ subscribers: 0 });
  });

  it('takes 100 events at once and then 100 a second, and says when to come back', async () => {
    const { publish, clock } = openModule();
    for (let n = 0; n < 100; n++) await publish(topic('fee-watcher.x'));
    await expect(publish(topic('fee-watcher.x'))).rejects.toMatchObject({ reason: 'RATE_LIMITED', retryAfterMs: 10 });
    clock.advance(10);
    await publish(topic('fee-watcher.x'));
  });

  it('knows a topic when it sees one', () => {
    for (const good of ['a.b', 'fee-watcher.sample', 'm1-x2.a.b_c-9']) expect(isTopic(good), good).toBe(true);
    for (const bad of [
      '',
      'a',
      '.b',
      'a.',
      'a.B',
      'A.b',
      'a-.b',
      '-a.b',
      'a.1',
      'a b.c',
      'a.b\n',
      'a.é',
      `a.b${'c'.repeat(63)}`,
    ])
      expect(isTopic(bad), bad).toBe(false);
  });
});

describe('EventService.GetDeliveryStats', () => {
  it("answers the module's own accounting, with and without a subscription", async () => {
    const { hub, service, subscribe } = openModule();
    const stats = () => service.getDeliveryStats({}, createCall().context);
    expect(await stats()).toMatchObject({ subscribed: false, replayed: 0n });
    const stream = subscribe({ types: CHAIN_TYPES });
    await stream.next();
    for (let height = 0; height < 120; height++) hub.publish(newBlock(height), { source: 'node' });
    const response = await stats();
    if (!('queues' in response)) throw new Error('encoded');
    expect(response.queues.map(({ queue }) => queue)).toEqual([EventQueue.CHAIN, EventQueue.GENERAL]);
    expect(response.queues[0]).toMatchObject({
      published: 120n,
      queued: 100n,
      dropped: 20n,
      channelFull: 20n,
      maxQueued: 100n,
      maxQueuedBytes: 4_194_304n,
    });
    await stream.iterator.return?.();
    expect(await stats()).toMatchObject({ subscribed: false, queues: [{ failed: 100n, queued: 0n }, {}] });
  });
});
