import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { HostError } from '../../src/contract/error.js';
import { blockHash, previousHashOf, serializeHeader } from '../../src/core/bitcoin/header.js';
import { hashToDisplay } from '../../src/core/bytes.js';
import { createSilentLogger } from '../../src/core/logger.js';
import {
  createChainFollower,
  type FollowedBlock,
  type FollowedChain,
  MAX_CONNECTS_AFTER_DOWNLOAD,
} from '../../src/node/jsonrpc/chain-follower.js';
import type { NodeEvent, SyncState } from '../../src/node/node-api.js';

const seed = Number(process.env.MODHOST_TEST_SEED ?? Date.now() % 2 ** 31);
process.stdout.write(`chain-follower.test seed ${seed}\n`);

interface TreeBlock extends FollowedBlock {
  parent: TreeBlock | undefined;
}

/** A block tree in memory with an active tip, as a node has it; a double that can fail, forget and switch branches. */
class TreeNode {
  readonly known = new Map<string, TreeBlock>();
  tip: TreeBlock;
  readonly genesis: TreeBlock;
  download = false;
  /** Called before each answer: may change the tree, or throw. */
  before: () => void = () => {};
  private nonce: number;

  constructor(firstNonce = 0) {
    this.nonce = firstNonce;
    this.genesis = this.tip = this.make(undefined);
  }

  make(parent: TreeBlock | undefined): TreeBlock {
    const header = serializeHeader({
      version: 1,
      previousHash: parent?.hash ?? new Uint8Array(32),
      merkleRoot: createHash('sha256').update(String(this.nonce)).digest(),
      timeUnixS: 1_700_000_000,
      bits: 0x207fffff,
      nonce: this.nonce++,
    });
    const height = parent === undefined ? 0 : parent.height + 1;
    const block = {
      hash: blockHash(header),
      height,
      header,
      txCount: 1,
      sizeBytes: 81,
      weight: 324,
      txids: [],
      parent,
    };
    this.known.set(hashToDisplay(block.hash), block);
    return block;
  }

  mine(count: number): void {
    for (let i = 0; i < count; i++) this.tip = this.make(this.tip);
  }

  rollBack(depth: number): void {
    for (let i = 0; i < depth && this.tip.parent !== undefined; i++) this.tip = this.tip.parent;
  }

  forget(block: TreeBlock): void {
    this.known.delete(hashToDisplay(block.hash));
  }

  at(height: number): TreeBlock | undefined {
    let block: TreeBlock | undefined = this.tip;
    while (block !== undefined && block.height > height) block = block.parent;
    return block?.height === height ? block : undefined;
  }

  private find(hash: Uint8Array): TreeBlock {
    const block = this.known.get(hashToDisplay(hash));
    if (block === undefined) throw new HostError('BLOCK_NOT_FOUND', 'unknown');
    return block;
  }

  /** Each question is a moment of its own; between two of one exchange the tree may change as well. */
  readonly chain: FollowedChain = {
    getSync: async () => {
      this.before();
      const phase: SyncState['phase'] = this.download ? 'blocks' : 'synced';
      const sync = {
        phase,
        progress: 1,
        blocks: this.tip.height,
        headers: this.tip.height,
        initialBlockDownload: this.download,
      };
      return { sync, tip: { hash: this.tip.hash, height: this.tip.height } };
    },
    getHashes: async (heights) =>
      heights.map((height) => {
        this.before();
        return this.at(height)?.hash;
      }),
    getBlock: async (hash) => {
      this.before();
      return this.find(hash);
    },
    getHeader: async (hash) => {
      this.before();
      return this.find(hash).header;
    },
    getHeaders: async (from, count) => {
      this.before();
      const found: TreeBlock[] = [];
      for (let height = from; height < from + count; height++)
        found.push(...[this.at(height)].filter((b) => b !== undefined));
      return found;
    },
  };
}

/** Follows the events as a module would: every connect on the tip, every disconnect of the tip. */
function createListener(start: TreeBlock): {
  hear(event: NodeEvent): void;
  stack: string[];
  reorgs: number;
  connects: number;
} {
  const path: string[] = [];
  for (let block: TreeBlock | undefined = start; block !== undefined; block = block.parent) {
    path.unshift(hashToDisplay(block.hash));
  }
  const listener = {
    stack: path,
    reorgs: 0,
    connects: 0,
    hear(event: NodeEvent) {
      if (event.type === 'BlockConnected') {
        expect(event.height).toBe(path.length);
        expect(hashToDisplay(previousHashOf(event.header))).toBe(path.at(-1));
        expect(hashToDisplay(blockHash(event.header))).toBe(hashToDisplay(event.hash));
        path.push(hashToDisplay(event.hash));
        listener.connects += 1;
      } else if (event.type === 'BlockDisconnected') {
        expect(hashToDisplay(event.hash)).toBe(path.at(-1));
        expect(event.height).toBe(path.length - 1);
        path.pop();
      } else if (event.type === 'ChainReorg') {
        expect(hashToDisplay(event.newTip.hash)).toBe(path.at(-1));
        expect(path[event.fork.height]).toBe(hashToDisplay(event.fork.hash));
        expect(event.fork.height).toBeLessThan(event.oldTip.height);
        listener.reorgs += 1;
      }
    },
  };
  return listener;
}

const setup = { clock: { monotonicMs: () => performance.now() }, logger: createSilentLogger() };
const signal = new AbortController().signal;

describe('the chain follower', () => {
  it('tells every connect and disconnect once and in order, whatever the node does between two questions', async () => {
    const action = fc.oneof(
      fc.record({ kind: fc.constant('mine' as const), count: fc.integer({ min: 1, max: 5 }) }),
      fc.record({
        kind: fc.constant('reorg' as const),
        count: fc.integer({ min: 1, max: 12 }),
        extra: fc.integer({ min: 0, max: 3 }),
      }),
      fc.record({ kind: fc.constant('roll-back' as const), count: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ kind: fc.constant('fail' as const), count: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ kind: fc.constant('look' as const), count: fc.integer({ min: 1, max: 4 }) }),
    );
    const plan = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), action), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(plan, async (steps) => {
        const node = new TreeNode();
        node.mine(5);
        const listener = createListener(node.tip);
        const follower = createChainFollower(node.chain, { emit: (event) => listener.hear(event) }, setup);
        await follower.catchUp(signal);
        const pending = [...steps];
        let wait = pending[0]?.[0] ?? 0;
        let failures = 0;
        const looks: Promise<void>[] = [];
        node.before = () => {
          if (failures > 0) {
            failures -= 1;
            throw new HostError('NODE_UNAVAILABLE', 'gone');
          }
          if (wait-- > 0) return;
          const step = pending.shift()?.[1];
          wait = pending[0]?.[0] ?? Number.POSITIVE_INFINITY;
          if (step === undefined) return;
          if (step.kind === 'mine') node.mine(step.count);
          else if (step.kind === 'roll-back') node.rollBack(step.count);
          else if (step.kind === 'fail') failures = step.count;
          else if (step.kind === 'reorg') {
            node.rollBack(step.count);
            node.mine(step.count + step.extra);
          } else for (let i = 0; i < step.count; i++) looks.push(follower.catchUp(signal).catch(() => undefined));
        };
        for (let i = 0; i < 200 && pending.length > 0; i++) await follower.catchUp(signal).catch(() => undefined);
        node.before = () => {};
        await Promise.all(looks);
        await follower.catchUp(signal);
        expect(listener.stack.at(-1)).toBe(hashToDisplay(node.tip.hash));
        expect(listener.stack.length).toBe(node.tip.height + 1);
        const connects = listener.connects;
        await follower.catchUp(signal);
        expect(listener.connects).toBe(connects);
      }),
      // the example is a hint that came out of the walk's own first question and began a second walk beside it
      {
        seed,
        numRuns: 300,
        examples: [
          [
            [
              [0, { kind: 'look', count: 1 }],
              [1, { kind: 'mine', count: 1 }],
              [1, { kind: 'reorg', count: 1, extra: 0 }],
            ],
          ],
        ],
      },
    );
  });

  it('walks back a branch that the node forgot in a crash, out of its own memory', async () => {
    const node = new TreeNode();
    node.mine(10);
    const listener = createListener(node.tip);
    const follower = createChainFollower(node.chain, { emit: (event) => listener.hear(event) }, setup);
    await follower.catchUp(signal);
    node.mine(5);
    await follower.catchUp(signal);
    const lost = [node.at(15), node.at(14), node.at(13), node.at(12), node.at(11), node.at(10), node.at(9), node.at(8)];
    node.rollBack(8);
    for (const block of lost) if (block !== undefined) node.forget(block);
    await follower.catchUp(signal);
    expect(listener.stack.length).toBe(8);
    node.mine(9);
    await follower.catchUp(signal);
    expect(listener.stack.at(-1)).toBe(hashToDisplay(node.tip.hash));
    expect(listener.reorgs).toBe(1);
  });

  it('goes on from the tip when the node is another one altogether', async () => {
    const node = new TreeNode();
    node.mine(300);
    const events: NodeEvent[] = [];
    const follower = createChainFollower(node.chain, { emit: (event) => events.push(event) }, setup);
    await follower.catchUp(signal);
    const other = new TreeNode(1_000_000);
    other.mine(400);
    Object.assign(node, { tip: other.tip });
    node.known.clear();
    for (const [id, block] of other.known) node.known.set(id, block);
    await follower.catchUp(signal);
    expect(hashToDisplay(follower.position()?.hash ?? new Uint8Array())).toBe(hashToDisplay(other.tip.hash));
    expect(events.some((event) => event.type === 'BlockConnected')).toBe(false);
  });

  it('tells only progress while the node downloads, and goes on from the tip after a long download', async () => {
    const node = new TreeNode();
    node.download = true;
    let now = 0;
    const events: NodeEvent[] = [];
    const follower = createChainFollower(
      node.chain,
      { emit: (event) => events.push(event) },
      { ...setup, clock: { monotonicMs: () => now } },
    );
    for (let i = 0; i < 5; i++) {
      await follower.catchUp(signal);
      node.mine(1_000);
      now += 5_000;
    }
    expect(new Set(events.map((event) => event.type))).toEqual(new Set(['SyncProgress']));
    expect(events.at(-1)).toMatchObject({ blocksPerSecond: 200 });
    node.download = false;
    await follower.catchUp(signal);
    expect(events.at(-1)).toMatchObject({ type: 'SyncChanged', old: 'blocks', now: { phase: 'synced' } });
    expect(follower.position()?.height).toBe(5_000);
    node.mine(2);
    await follower.catchUp(signal);
    expect(events.filter((event) => event.type === 'BlockConnected').map((event) => event.height)).toEqual([
      5_001, 5_002,
    ]);
  });

  it('tells the blocks of a short download one by one', async () => {
    const node = new TreeNode();
    node.download = true;
    const listener = createListener(node.tip);
    const follower = createChainFollower(node.chain, { emit: (event) => listener.hear(event) }, setup);
    await follower.catchUp(signal);
    node.mine(MAX_CONNECTS_AFTER_DOWNLOAD);
    node.download = false;
    await follower.catchUp(signal);
    expect(listener.connects).toBe(MAX_CONNECTS_AFTER_DOWNLOAD);
  });

  it('shares one walk among hints that come together', async () => {
    const node = new TreeNode();
    const follower = createChainFollower(node.chain, { emit: () => {} }, setup);
    await follower.catchUp(signal);
    let questions = 0;
    node.before = () => {
      questions += 1;
    };
    await Promise.all(Array.from({ length: 1_000 }, () => follower.catchUp(signal)));
    // Two walks: the one under way and one more; each asks for the progress and two hashes.
    expect(questions).toBeLessThanOrEqual(6);
  });

  it('tells a node that does not move as stalled', async () => {
    const node = new TreeNode();
    node.download = true;
    let now = 0;
    const events: NodeEvent[] = [];
    const follower = createChainFollower(
      node.chain,
      { emit: (event) => events.push(event) },
      { ...setup, clock: { monotonicMs: () => now } },
    );
    await follower.catchUp(signal);
    now = 11 * 60_000;
    await follower.catchUp(signal);
    expect(events).toContainEqual(expect.objectContaining({ type: 'SyncChanged', old: 'blocks' }));
  });
});
