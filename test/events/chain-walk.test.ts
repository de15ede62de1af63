import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SubscribeResponse } from '../../gen/ts/modhost/event/v1/event_service.js';
import { HostError } from '../../src/contract/error.js';
import { equalBytes } from '../../src/core/bytes.js';
import { createBlockFacts } from '../../src/events/block-facts.js';
import { MAX_BULK_HEADERS, MAX_READ_AHEAD, startChainWalk } from '../../src/events/chain-walk.js';
import { createFakeChain, createFollower, type FakeChain } from './fake-chain.js';
import { BOUNDS, CLOSED, createTestHub, EventType, filterOf, hashOf, newBlock, pullNow } from './harness.js';

/** Seed of the random runs; shown in their titles. */
const SEED = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);

const signal = new AbortController().signal;
const TYPES = [EventType.NEW_BLOCK, EventType.BLOCK_DISCONNECTED];

function walkFrom(chain: FakeChain, locator: Uint8Array[], wantsReorg = true) {
  return startChainWalk(locator, { reader: chain, wantsReorg: () => wantsReorg, random: () => 0.5 }, signal);
}

/** The block at a height of the active chain. */
function at(chain: FakeChain, height: number) {
  const block = chain.active()[height];
  if (block === undefined) throw new Error(`no block at ${height}`);
  return block;
}

/** Advances to the tip; the follower checks each event. */
async function followToTip(chain: FakeChain, from = at(chain, 0), locator = [from.hash]) {
  const walk = await walkFrom(chain, locator);
  const follower = createFollower(from);
  for (;;) {
    const { events, atTip } = await walk.advance(signal);
    for (const event of events) follower.apply(event);
    if (atTip) return { walk, follower };
  }
}

describe('a chain walk', () => {
  it('goes from the genesis to the tip, in runs of bounded length', async () => {
    const chain = createFakeChain();
    chain.extend(3 * MAX_READ_AHEAD + 5);
    const walk = await walkFrom(chain, [at(chain, 0).hash]);
    const lengths: number[] = [];
    for (let atTip = false; !atTip; ) {
      const run = await walk.advance(signal);
      lengths.push(run.events.length);
      atTip = run.atTip;
    }
    expect(lengths).toEqual([16, 16, 16, 5]);
    expect(await walk.advance(signal)).toEqual({ events: [], atTip: true });
  });

  it('takes the first hash of the locator that the node knows, and undoes a branch that lost', async () => {
    const chain = createFakeChain();
    chain.extend(5);
    const fork = at(chain, 3);
    const oldTip = at(chain, 5);
    chain.activate(chain.mine(chain.mine(chain.mine(fork))));
    const { walk, follower } = await followToTip(chain, fork, [hashOf('unknown'), fork.hash]);
    expect(walk.from).toEqual(fork.hash);
    expect(follower.steps).toEqual(['+4', '+5', '+6']);
    const undo = await walkFrom(chain, [oldTip.hash, fork.hash]);
    const { events } = await undo.advance(signal);
    expect(events.map((event) => event.$case)).toEqual([
      'blockDisconnected',
      'blockDisconnected',
      'newBlock',
      'newBlock',
      'newBlock',
      'chainReorg',
    ]);
    expect(events.at(-1)).toMatchObject({
      value: {
        oldTip: oldTip.hash,
        oldHeight: 5,
        newHeight: 6,
        forkHash: fork.hash,
        forkHeight: 3,
        disconnected: 2,
        connected: 3,
      },
    });
  });

  it('tells no summary of a switch to one who did not ask', async () => {
    const chain = createFakeChain();
    chain.extend(2);
    const left = at(chain, 2);
    chain.activate(chain.mine(chain.mine(at(chain, 1))));
    const { events } = await (await walkFrom(chain, [left.hash], false)).advance(signal);
    expect(events.map((event) => event.$case)).toEqual(['blockDisconnected', 'newBlock', 'newBlock']);
  });

  it('refuses a locator that the node does not know, and tells the tip', async () => {
    const chain = createFakeChain();
    chain.extend(2);
    await expect(walkFrom(chain, [hashOf(1), hashOf(2)])).rejects.toMatchObject({
      reason: 'CURSOR_UNKNOWN',
      details: { tipHeight: 2 },
    });
  });

  it('tells trouble with the node while it is being set up, and waits for the node later', async () => {
    const chain = createFakeChain();
    chain.extend(3);
    chain.trouble = new HostError('NODE_UNAVAILABLE', 'gone');
    await expect(walkFrom(chain, [at(chain, 0).hash])).rejects.toMatchObject({ reason: 'NODE_UNAVAILABLE' });
    chain.trouble = undefined;
    const walk = await walkFrom(chain, [at(chain, 0).hash]);
    chain.trouble = new HostError('NODE_UNAVAILABLE', 'gone');
    const advance = walk.advance(signal);
    expect(await pullNow(advance)).toBeUndefined();
    chain.trouble = undefined;
    expect((await advance).events).toHaveLength(3);
  });

  it('stops waiting for the node when the subscription ends', async () => {
    const chain = createFakeChain();
    const walk = await walkFrom(chain, [at(chain, 0).hash]);
    chain.trouble = new HostError('NODE_UNAVAILABLE', 'gone');
    const end = new AbortController();
    const advance = walk.advance(end.signal);
    setImmediate(() => end.abort(CLOSED));
    await expect(advance).rejects.toBe(CLOSED);
  });

  it('keeps what it found before the node failed, and ends when a block that must be undone is forgotten', async () => {
    const chain = createFakeChain();
    chain.extend(4);
    const tip = at(chain, 4);
    const walk = await walkFrom(chain, [tip.hash]);
    const forgotten = at(chain, 3);
    chain.activate(chain.mine(at(chain, 0)));
    chain.forget(forgotten);
    expect((await walk.advance(signal)).events).toMatchObject([{ $case: 'blockDisconnected', value: { height: 4 } }]);
    await expect(walk.advance(signal)).rejects.toMatchObject({ reason: 'CURSOR_UNKNOWN' });
  });

  it('carries headers in bulk while the node downloads, and single blocks when it is done', async () => {
    const chain = createFakeChain();
    chain.extend(MAX_BULK_HEADERS + 10);
    chain.download = true;
    const walk = await walkFrom(chain, [at(chain, 0).hash]);
    const follower = createFollower(at(chain, 0));
    const first = await walk.advance(signal);
    expect(first).toMatchObject({
      atTip: false,
      events: [{ $case: 'blockSyncProgress', value: { firstHeight: 1, targetHeight: 900, progressPercent: 50 } }],
    });
    const second = await walk.advance(signal);
    expect(second.atTip).toBe(true);
    chain.download = false;
    chain.extend(2);
    const third = await walk.advance(signal);
    for (const event of [...first.events, ...second.events, ...third.events]) follower.apply(event);
    expect(follower.position.height).toBe(MAX_BULK_HEADERS + 12);
    expect(third.events.map((event) => event.$case)).toEqual(['newBlock', 'newBlock']);
  });

  it('marks blocks whose bodies the node has pruned', async () => {
    const chain = createFakeChain();
    chain.extend(6);
    chain.pruned = 4;
    const { events } = await (await walkFrom(chain, [at(chain, 0).hash])).advance(signal);
    expect(events.map((event) => event.$case === 'newBlock' && event.value.headersOnly)).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  it(`tells each connect and disconnect once and in order, however the chain moves under it (seed ${SEED})`, async () => {
    const choice = fc.record({
      kind: fc.constantFrom('extend', 'reorg', 'advance', 'advance', 'rollback', 'fail'),
      depth: fc.integer({ min: 0, max: 25 }),
      length: fc.integer({ min: 0, max: 30 }),
      /** How many answers of the node come before the change. */
      after: fc.integer({ min: 0, max: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(choice, { minLength: 4, maxLength: 25 }), async (choices) => {
        const chain = createFakeChain();
        chain.extend(10);
        const start = at(chain, 0);
        const walk = await walkFrom(chain, [start.hash]);
        const follower = createFollower(start);
        const advance = async (): Promise<boolean> => {
          const { events, atTip } = await walk.advance(signal);
          for (const event of events) follower.apply(event);
          return atTip;
        };
        const later: { at: number; change: () => void }[] = [];
        chain.beforeAnswer = () => {
          for (const [index, { at: due, change }] of [...later.entries()].reverse()) {
            if (chain.calls < due) continue;
            later.splice(index, 1);
            change();
          }
        };
        for (const { kind, depth, length, after } of choices) {
          const change = (): void => {
            if (kind === 'extend') chain.extend(length);
            if (kind === 'rollback' || kind === 'reorg') {
              let tip = at(chain, Math.max(0, chain.active().length - 1 - depth));
              for (let i = 0; kind === 'reorg' && i < depth + length; i++) tip = chain.mine(tip);
              chain.activate(tip);
            }
            if (kind === 'fail') {
              chain.trouble = new HostError('NODE_BUSY', 'later');
              setImmediate(() => {
                chain.trouble = undefined;
              });
            }
          };
          if (kind === 'advance') await advance();
          else later.push({ at: chain.calls + after, change });
        }
        // whatever has not happened yet happens now; then the walk must come to rest at the tip
        for (const { change } of later.splice(0)) change();
        while (!(await advance())) {}
        const tip = chain.active().at(-1);
        expect(equalBytes(follower.position.hash, tip?.hash ?? new Uint8Array())).toBe(true);
        expect(await walk.advance(signal)).toEqual({ events: [], atTip: true });
      }),
      { seed: SEED, numRuns: 40 },
    );
  });
});

describe('a subscription with a chain cursor', () => {
  async function open(chain: FakeChain, from = 0) {
    const test = createTestHub();
    const member = test.hub.join('a', 'a-1', BOUNDS);
    const walk = await walkFrom(chain, [at(chain, from).hash]);
    const subscription = member.subscribe({ filter: filterOf([...TYPES, EventType.CHAIN_REORG]), walk });
    return { ...test, member, subscription, follower: createFollower(at(chain, from)) };
  }
  const decode = (bytes: Buffer | undefined): SubscribeResponse => SubscribeResponse.decode(bytes ?? new Uint8Array());

  it('answers at once with the beginning of the walk, is live at the tip and not before', async () => {
    const chain = createFakeChain();
    chain.extend(MAX_READ_AHEAD + 1);
    const { subscription, follower } = await open(chain);
    const first = decode(await subscription.next());
    expect(first).toMatchObject({ events: [], live: false, walkFrom: Buffer.from(at(chain, 0).hash) });
    const second = decode(await subscription.next());
    expect(second.live).toBe(false);
    const third = decode(await subscription.next());
    expect(third.live).toBe(true);
    expect(second.walkFrom).toHaveLength(0);
    for (const event of [...second.events, ...third.events]) {
      expect(event).toMatchObject({ sequence: 0n, replayed: true, source: 'node' });
      if (event.payload !== undefined) follower.apply(event.payload);
    }
    expect(follower.position.height).toBe(MAX_READ_AHEAD + 1);
  });

  it('says that it is at the tip when there is nothing to walk', async () => {
    const { subscription } = await open(createFakeChain());
    expect(decode(await subscription.next()).live).toBe(false);
    expect(decode(await subscription.next())).toMatchObject({ events: [], live: true });
    const pending = subscription.next();
    expect(await pullNow(pending)).toBeUndefined();
    subscription.close();
    expect(await pending).toBeUndefined();
  });

  it('delays a slow reader, and loses and repeats nothing through 300 blocks and a reorganisation', async () => {
    const chain = createFakeChain();
    const { hub, member, subscription, follower } = await open(chain);
    decode(await subscription.next());
    const tell = (): void => void hub.publish(newBlock(1), { source: 'node' });
    for (let block = 0; block < 300; block++) {
      chain.extend();
      tell();
    }
    const calls = chain.calls;
    await new Promise((resolve) => setTimeout(resolve, 5));
    // one run at most was read ahead of a reader that does not come
    expect(chain.calls - calls).toBeLessThan(8);
    const side = [at(chain, 250)];
    for (let i = 0; i < 60; i++) side.push(chain.mine(side.at(-1) ?? at(chain, 250)));
    let response = decode(await subscription.next());
    for (let n = 0; !(response.live && follower.position.height === 310); n++) {
      for (const event of response.events) if (event.payload !== undefined) follower.apply(event.payload);
      if (n === 17) {
        chain.activate(side.at(-1) ?? at(chain, 250));
        tell();
      }
      if (follower.position.height === 310) break;
      response = decode(await subscription.next());
    }
    expect(follower.steps.at(-1)).toMatch(/^(\+310|reorg \d+\/60)$/);
    // the walk is outside the accounting
    expect(member.delivery().queues[0]).toMatchObject({ published: 0, dropped: 0 });
    expect(member.delivery().replayed).toBeGreaterThan(300);
  });

  it('is not starved by a busy mempool', async () => {
    const chain = createFakeChain();
    chain.extend(5);
    const { hub, member, subscription, follower } = await open(chain);
    member.update(filterOf([...TYPES, EventType.NEW_TRANSACTION]));
    for (let n = 0; n < 20 && follower.position.height < 5; n++) {
      for (let i = 0; i < 150; i++) {
        hub.publish({ $case: 'newTransaction', value: { txid: hashOf(i) } }, { source: 'node' });
      }
      const response = decode(await subscription.next());
      for (const event of response.events) if (event.replayed && event.payload) follower.apply(event.payload);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(follower.position.height).toBe(5);
  });

  it('ends when the node no longer knows what must be undone', async () => {
    const chain = createFakeChain();
    chain.extend(3);
    const { subscription, hub } = await open(chain, 3);
    decode(await subscription.next());
    expect(decode(await subscription.next()).live).toBe(true);
    chain.forget(at(chain, 3));
    chain.activate(chain.mine(at(chain, 0)));
    hub.publish(newBlock(1), { source: 'node' });
    await expect(subscription.next()).rejects.toMatchObject({ reason: 'CURSOR_UNKNOWN' });
  });
});

describe('the memory of blocks', () => {
  it('holds the latest and forgets the oldest', () => {
    const facts = createBlockFacts(2);
    const chain = createFakeChain();
    const [a, b, c] = [chain.extend(), chain.extend(), chain.extend()];
    facts.remember(a);
    facts.remember(b);
    facts.remember(a);
    facts.remember(c);
    expect([a, b, c].map((block) => facts.get(block.hash) === block)).toEqual([true, false, true]);
  });
});
