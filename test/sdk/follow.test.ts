import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import type { SubscribeResponse } from '../../gen/ts/modhost/event/v1/event_service.js';
import { HostError } from '../../src/contract/error.js';
import { equalBytes, toHex } from '../../src/core/bytes.js';
import { createSystemClock } from '../../src/core/clock.js';
import {
  type ChainChange,
  type ChainCursor,
  type EventItem,
  formatCursor,
  ModhostError,
  openFollow,
  parseCursor,
  type SubscriptionLink,
} from '../../src/sdk/index.js';
import { ALL, createSdkRig, type SdkRig, type SdkRigOptions } from './sdk-rig.js';

const SEED = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);

const rigs: SdkRig[] = [];
const rigOf = async (options?: SdkRigOptions): Promise<SdkRig> => {
  const rig = await createSdkRig(options);
  rigs.push(rig);
  return rig;
};
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.dispose();
});

async function reason(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'OK',
    (error: unknown) => ModhostError.from(error).reason,
  );
}

/** A module that keeps the chain it was told, and refuses what does not fit on it. */
function createWitness(start: { hash: Uint8Array; height: number }) {
  const chain = [{ ...start }];
  const witness = {
    cursor: undefined as ChainCursor | undefined,
    told: [] as string[],
    get tip() {
      return chain.at(-1) ?? start;
    },
    handle(change: ChainChange): void {
      if ('cursor' in change) witness.cursor = change.cursor;
      if (change.kind === 'connect') {
        if (change.height !== witness.tip.height + 1)
          throw new Error(`connect ${change.height} on ${witness.tip.height}`);
        chain.push({ hash: change.hash, height: change.height });
        witness.told.push(`+${change.height}`);
      } else if (change.kind === 'disconnect') {
        if (!equalBytes(change.hash, witness.tip.hash)) throw new Error(`disconnect ${change.height} is not the tip`);
        chain.pop();
        const [parent] = change.cursor;
        // below where the module began, the header of the undone block says where it stands
        if (chain.length === 0 && parent !== undefined) chain.push({ ...parent });
        witness.told.push(`-${change.height}`);
      } else if (change.kind === 'rollback') {
        while (witness.tip.height > change.to.height) chain.pop();
        witness.told.push(`rollback ${change.to.height}`);
      } else if (change.kind !== 'event') {
        witness.told.push(change.kind);
      }
    },
    hashes: () => chain.map(({ hash }) => toHex(hash)),
  };
  return witness;
}

/** Follows until the witness stands at the node's tip, or throws. */
async function until(
  changes: AsyncGenerator<ChainChange>,
  witness: ReturnType<typeof createWitness>,
  done: () => boolean,
): Promise<void> {
  while (!done()) {
    const next = await changes.next();
    if (next.done === true) throw new Error('the iteration ended');
    witness.handle(next.value);
  }
}

const tipOf = async (rig: SdkRig) => (await rig.node.chain.getState(new AbortController().signal)).tip;
const genesisOf = async (rig: SdkRig) => ({
  hash: await rig.node.chain.getHash(0, new AbortController().signal),
  height: 0,
});

describe('follow', () => {
  it('tells each connect and disconnect once and in order, from the tip or from genesis', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    const fromGenesis = await module.follow({ cursor: 'genesis' });
    const witness = createWitness(await genesisOf(rig));
    await until(fromGenesis, witness, () => witness.told.includes('live'));
    expect(witness.told).toEqual(['+1', '+2', 'live']);
    await fromGenesis.return();

    const changes = await retried(() => module.follow({ cursor: 'tip' }));
    const second = createWitness(await tipOf(rig));
    await rig.node.control.mine(2);
    await until(changes, second, () => second.tip.height === 4);
    // one block deeper than where the module began
    await rig.node.control.reorg(3);
    await until(changes, second, () => second.tip.height === 5);
    expect(second.told.filter((step) => step !== 'live')).toEqual([
      '+3',
      '+4',
      '-4',
      '-3',
      '-2',
      '+2',
      '+3',
      '+4',
      '+5',
    ]);
    expect(toHex(second.tip.hash)).toBe(toHex((await tipOf(rig)).hash));
  });

  it('resumes from a kept cursor in another process, through a reorganisation that it slept through', async () => {
    const rig = await rigOf();
    await rig.node.control.mine(20);
    const first = await rig.connect();
    const witness = createWitness(await genesisOf(rig));
    const before = await first.follow({ cursor: 'genesis' });
    await until(before, witness, () => witness.tip.height === 22);
    const kept = formatCursor(witness.cursor ?? []);
    await first.close();

    await rig.node.control.reorg(15);
    await rig.crash();
    await rig.revive();
    const second = await rig.connect();
    const cursor = parseCursor(kept);
    if (cursor === undefined) throw new Error('the kept cursor cannot be read');
    const after = await second.follow({ cursor });
    const end = await tipOf(rig);
    await until(after, witness, () => equalBytes(witness.tip.hash, end.hash));
    expect(witness.told.filter((step) => step.startsWith('-'))).toHaveLength(15);
  });

  it(`loses and repeats nothing over dropped streams and restarts of the host (seed ${SEED})`, async () => {
    const rig = await rigOf();
    const random = randomOf(SEED);
    const module = await rig.connect();
    const witness = createWitness(await genesisOf(rig));
    const stop = new AbortController();
    const changes = await module.follow({ cursor: 'genesis', types: ['CHAIN_REORG'], signal: stop.signal });
    await module.ready();
    const following = (async () => {
      for await (const change of changes) {
        witness.handle(change);
        if (random() < 0.1) await new Promise((resolve) => setTimeout(resolve, 1 + random() * 10));
      }
    })();
    for (let step = 0; step < 60; step++) {
      const dice = random();
      const height = rig.node.control.height();
      if (dice < 0.5) await rig.node.control.mine(1 + Math.floor(random() * 5));
      else if (dice < 0.7) await rig.node.control.reorg(1 + Math.floor(random() * Math.min(12, height - 1)));
      else if (dice < 0.85) rig.life.server.dropConnections();
      else if (dice < 0.92) {
        await rig.crash();
        await rig.node.control.mine(1);
        await rig.revive();
      } else await new Promise((resolve) => setTimeout(resolve, random() * 200));
    }
    await rig.node.control.mine(1);
    const end = await tipOf(rig);
    await expect.poll(() => toHex(witness.tip.hash), { timeout: 20_000 }).toBe(toHex(end.hash));
    const signal = new AbortController().signal;
    const active = await Promise.all(witness.hashes().map((_, height) => rig.node.chain.getHash(height, signal)));
    expect(witness.hashes()).toEqual(active.map(toHex));
    expect(rig.life.readies, 'a revived host is told that the module is ready').toBe(1);
    stop.abort();
    await following;
  });

  it('undoes back to walk_from what the node has lost', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    const [tip, genesis] = [await tipOf(rig), await genesisOf(rig)];
    const lost = [7, 6].map((height) => ({ hash: new Uint8Array(32).fill(height), height }));
    const changes = await module.follow({ cursor: [...lost, tip, genesis] });
    const first = await changes.next();
    expect(first.value).toEqual({ kind: 'rollback', to: tip, unknown: lost, cursor: [tip, genesis] });
  });

  it('fails with CURSOR_UNKNOWN on another chain', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    expect(await reason(module.follow({ cursor: [{ hash: new Uint8Array(32).fill(1), height: 5 }] }))).toBe(
      'CURSOR_UNKNOWN',
    );
  });

  it('takes bulk headers of an initial download as connects', async () => {
    const rig = await rigOf();
    await rig.node.control.mine(10);
    rig.reader.sync = async () => ({ initialBlockDownload: true, headers: 12, progress: 0.5 });
    const module = await rig.connect();
    const witness = createWitness(await genesisOf(rig));
    await until(await module.follow({ cursor: 'genesis' }), witness, () => witness.tip.height === 12);
    expect(toHex(witness.tip.hash)).toBe(toHex((await tipOf(rig)).hash));
  });

  it('waits for a node that cannot be asked, and tells the host that the start takes longer', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    let tries = 0;
    rig.reader.block = async () => {
      tries += 1;
      if (tries < 4) throw new HostError('NODE_UNAVAILABLE', 'nobody answers', { retryAfterMs: 1 });
      delete rig.reader.block;
      throw new HostError('NODE_UNAVAILABLE', 'nobody answers', { retryAfterMs: 1 });
    };
    const changes = await module.follow({ cursor: 'genesis' });
    expect((await changes.next()).value).toMatchObject({ kind: 'connect', height: 1 });
    expect(rig.life.startings[0]).toContain('waiting');
  });

  it('refuses a second subscription, and one without permission', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    await module.follow({ cursor: 'genesis' });
    expect(await reason(module.follow({ cursor: 'genesis' }))).toBe('STREAM_EXISTS');
    expect(await reason(module.events({ types: ['NEW_TRANSACTION'] }))).toBe('STREAM_EXISTS');
    const other = await rigOf({ permissions: ['READ_BLOCKCHAIN'] });
    expect(await reason((await other.connect()).follow({ cursor: 'genesis' }))).toBe('MISSING_PERMISSION');
  });

  it('ends with an error when its permission is withdrawn, and without one with the session or its signal', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    const changes = await module.follow({ cursor: 'tip' });
    const waiting = drain(changes);
    rig.life.grants.withdraw('SUBSCRIBE_EVENTS');
    expect(await reason(waiting)).toBe('PERMISSION_WITHDRAWN');

    const other = await rigOf();
    const second = await other.connect();
    const ending = drain(await second.follow({ cursor: 'tip' }));
    other.life.session.close(new HostError('SESSION_CLOSED', 'unloaded'));
    expect(await reason(ending)).toBe('OK');
    expect(second.ended.aborted).toBe(true);

    const third = await rigOf();
    const stop = new AbortController();
    const cut = drain(await (await third.connect()).follow({ cursor: 'tip', signal: stop.signal }));
    setTimeout(() => stop.abort(), 20);
    expect(await reason(cut)).toBe('OK');
  });

  it('gives up on a host that stays away', async () => {
    const rig = await rigOf();
    const module = await rig.connect({ maxOutageMs: 300 });
    const waiting = drain(await module.follow({ cursor: 'tip' }));
    await rig.crash();
    expect(await reason(waiting)).toBe('HOST_UNREACHABLE');
  });

  it('refuses to go on with a host that skips a block', async () => {
    const block = (height: number) => ({ hash: new Uint8Array(32).fill(height), height });
    const skipping: SubscriptionLink = {
      event: {
        async *subscribe() {
          const walkFrom = block(1).hash;
          const value = {
            blockHash: block(3).hash,
            height: 3,
            header: new Uint8Array(80),
            txCount: 0,
            size: 0,
            weight: 0,
          };
          const payload = { $case: 'newBlock' as const, value: { ...value, headersOnly: false } };
          const event = { sequence: 0n, timeUnixMs: 0n, source: 'node', replayed: true, payload };
          yield { events: [event], gaps: [], droppedTotal: 0n, live: true, walkFrom } satisfies SubscribeResponse;
        },
      },
      clock: createSystemClock(),
      random: Math.random,
      maxOutageMs: 1_000,
      reopen: async () => {},
      stands: async () => {},
      waits: () => {},
      over: () => {},
    };
    const changes = await openFollow(
      skipping,
      { getChainTip: fails, getBlockByHeight: fails },
      { cursor: [block(1)] },
      new AbortController().signal,
    );
    expect(await reason(changes.next())).toBe('PROTOCOL_VIOLATION');
  });
});

describe('events', () => {
  it('stand when the promise resolves, tell gaps, and say that they were interrupted', async () => {
    const rig = await rigOf({ permissions: [...ALL, 'READ_MEMPOOL'] });
    const module = await rig.connect();
    const events = await module.events({ types: ['NEW_BLOCK', 'NEW_TRANSACTION'] });
    await rig.node.control.mine(1);
    expect(await nextKind(events)).toBe('newBlock');

    // a reader that sleeps: far more than the queue holds in one turn of the host's work
    for (let i = 0; i < 300; i++) {
      rig.life.hub.publish({ $case: 'newTransaction', value: { txid: new Uint8Array(32) } }, { source: 'node' });
    }
    let lost = 0n;
    let heard = 0;
    while (heard + Number(lost) < 300) {
      const { value } = await events.next();
      if (value?.kind === 'gap') lost += value.gap.count;
      else heard += 1;
    }
    expect(lost).toBeGreaterThan(0n);
    expect(heard + Number(lost)).toBe(300);

    rig.life.server.dropConnections();
    expect(await nextKind(events)).toBe('interrupted');
    await rig.node.control.mine(1);
    expect(await nextKind(events)).toBe('newBlock');
  });

  it('come beside the chain when follow is asked for them', async () => {
    const rig = await rigOf();
    const module = await rig.connect();
    const changes = await module.follow({ cursor: 'tip', types: ['CHAIN_REORG'] });
    await rig.node.control.reorg(1);
    const kinds: string[] = [];
    while (kinds.at(-1) !== 'chainReorg') kinds.push(await nextKind(changes));
    expect(kinds.filter((kind) => kind !== 'live')).toEqual(['disconnect', 'connect', 'connect', 'chainReorg']);
  });
});

async function nextKind(items: AsyncGenerator<ChainChange | EventItem>): Promise<string> {
  const { value } = await items.next();
  if (value?.kind === 'event') return value.event.payload?.$case ?? 'none';
  return value?.kind ?? 'end';
}

async function drain(items: AsyncGenerator<unknown>): Promise<void> {
  for await (const _ of items);
}

/** The host notices the end of a stream a moment after the module has left it. */
async function retried<T>(open: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (ModhostError.from(error).reason !== 'STREAM_EXISTS') throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

function fails(): never {
  throw new ModhostError('INTERNAL', 'not asked', { code: status.INTERNAL });
}

/** Numbers in [0, 1) from a seed. @see "mulberry32" */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
