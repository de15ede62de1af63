import { HostError, throwIfAborted } from '../../contract/error.js';
import { MalformedBytesError } from '../../core/bitcoin/reader.js';
import type { Clock } from '../../core/clock.js';
import type { SubmitBlockVerdict } from '../node-api.js';
import type { BlockStore, StoreRecord } from './block-store.js';
import {
  type BlockNode,
  type BlockTree,
  chainWorkAfter,
  createBlockTree,
  medianTimeAfter,
  type StoredAt,
} from './block-tree.js';
import { checkBlock, checkBlockAt, checkHeaderAt, type KnownBlock, knownBlock } from './check-block.js';
import { type Coin, type CoinOverlay, type CoinSet, createCoinOverlay, disconnectCoins } from './coins.js';
import { connectBlock } from './connect-block.js';
import type { Pacer } from './pacer.js';
import { genesisBlock } from './params.js';
import type { ScriptChecker } from './script-checker.js';

/** A block that joined or left the active chain. */
export interface ChangedBlock {
  node: BlockNode;
  block: KnownBlock;
}

/** One move of the tip. */
export interface ChainChange {
  oldTip: BlockNode;
  newTip: BlockNode;
  fork: BlockNode;
  /** From the old tip downwards. */
  disconnected: ChangedBlock[];
  /** Upwards to the new tip. */
  connected: ChangedBlock[];
}

/** What became of a block, and how the tip moved if it did. */
export interface AcceptResult {
  verdict: SubmitBlockVerdict;
  change?: ChainChange | undefined;
}

/**
 * Blocks, unspent outputs and the rules between them. Calls that change it must not overlap. A change is checked to
 * its end beside the state, then kept, then made in one turn of the event loop: readers see it whole or not at all.
 */
export interface Chainstate {
  readonly tree: BlockTree;
  readonly coins: CoinSet;
  /** Rebuilds everything from the store. @throws DATA_CORRUPT, DATA_TOO_NEW */
  load(signal: AbortSignal): Promise<void>;
  /** Checks a block and, if it makes the best chain, moves the tip. @throws INVALID_REQUEST, DISK_FULL */
  accept(raw: Uint8Array): Promise<AcceptResult>;
  /** Declares a block invalid, with all that build on it. @throws BLOCK_NOT_FOUND, INVALID_REQUEST, DISK_FULL */
  invalidate(hash: Uint8Array): Promise<ChainChange | undefined>;
  readBlock(node: BlockNode): Promise<Uint8Array>;
  /** Block of the active chain that holds a transaction, and its place in it. */
  locate(txKey: string): { node: BlockNode; index: number } | undefined;
}

/** What a chainstate is made of. */
export interface ChainstateParts {
  store: BlockStore;
  coins: CoinSet;
  scripts: ScriptChecker;
  pacer: Pacer;
  clock: Clock;
}

type Plan =
  | { failed: BlockNode | undefined; reason: string }
  | {
      failed?: undefined;
      reason?: undefined;
      overlay: CoinOverlay;
      disconnected: ChangedBlock[];
      connected: Connected[];
    };

/** A block about to be connected; the new block has no node yet. */
interface Connected {
  node: BlockNode | undefined;
  block: KnownBlock;
  spent: Coin[];
}

const NOWHERE: StoredAt = { offset: -1, length: 0 };

/** Makes the chainstate with the genesis block as its tip. */
export function createChainstate(parts: ChainstateParts): Chainstate {
  const { store, coins, pacer, clock } = parts;
  const genesis = knownBlock(genesisBlock());
  const root = makeNode(genesis, undefined, NOWHERE);
  const tree = createBlockTree(root);
  const places = new Map<string, { node: BlockNode; index: number }>();

  return {
    tree,
    coins,
    async load(signal) {
      for await (const record of store.replay()) {
        await pacer.pause();
        throwIfAborted(signal);
        const replayed = await replayRecord(record, record.at);
        if (replayed === undefined) continue;
        throw new HostError(
          'DATA_CORRUPT',
          `the stored chain breaks a rule (${replayed}); move its file away to begin anew`,
        );
      }
    },
    accept: (raw) => accept(decode(raw), undefined),
    async invalidate(hash) {
      const node = tree.get(hash);
      if (node === undefined) throw new HostError('BLOCK_NOT_FOUND', 'the devchain knows no block with this hash');
      if (node === root) throw new HostError('INVALID_REQUEST', 'the genesis block cannot be invalidated');
      return node.invalid ? undefined : invalidate(node, false);
    },
    readBlock,
    locate: (txKey) => places.get(txKey),
  };

  async function replayRecord(record: StoreRecord, at: StoredAt): Promise<string | undefined> {
    if (record.kind === 'invalid') {
      const node = tree.get(record.payload);
      if (node === undefined || node === root) return 'a mark on an unknown block';
      if (!node.invalid) await invalidate(node, true);
      return undefined;
    }
    const { verdict } = await accept(decode(record.payload), at);
    return verdict.outcome === 'rejected' ? verdict.reason : undefined;
  }

  /** @param at where the block is kept already, while replaying */
  async function accept(block: KnownBlock, at: StoredAt | undefined): Promise<AcceptResult> {
    await pacer.pause();
    const known = tree.get(block.hash);
    if (known !== undefined) {
      return { verdict: known.invalid ? rejected('duplicate-invalid') : { outcome: 'duplicate' } };
    }
    const formal = checkBlock(block);
    if (formal !== undefined) return { verdict: rejected(formal) };
    const parent = tree.get(block.header.previousHash);
    if (parent === undefined) return { verdict: rejected('prev-blk-not-found') };
    if (parent.invalid) return { verdict: rejected('bad-prevblk') };
    const nowUnixS = at === undefined ? Math.floor(clock.unixMs() / 1000) : undefined;
    const placed = checkHeaderAt(block.header, parent, nowUnixS) ?? checkBlockAt(block, parent);
    if (placed !== undefined) return { verdict: rejected(placed) };

    if (chainWorkAfter(parent, block.header.bits) <= tree.tip.chainWork) {
      tree.add(makeNode(block, parent, at ?? (await keep(block))));
      return { verdict: { outcome: 'inconclusive' } };
    }
    const plan = await planMove(parent, block, at !== undefined);
    if (plan.reason !== undefined) {
      if (plan.failed === undefined) return { verdict: rejected(plan.reason) };
      await store.append([{ kind: 'invalid', payload: plan.failed.hash }]);
      tree.markInvalid(plan.failed);
      return { verdict: rejected('bad-prevblk') };
    }
    const node = makeNode(block, parent, at ?? (await keep(block)));
    tree.add(node);
    return { verdict: { outcome: 'accepted' }, change: applyMove(plan, node) };
  }

  async function keep(block: KnownBlock): Promise<StoredAt> {
    const [at] = await store.append([{ kind: 'block', payload: block.raw }]);
    return at ?? NOWHERE;
  }

  async function invalidate(node: BlockNode, replaying: boolean): Promise<ChainChange | undefined> {
    const wasActive = tree.isActive(node);
    const marks = [node.hash];
    const marked = tree.markInvalid(node);
    try {
      let plan = wasActive ? await planMove(tree.best(), undefined, replaying) : undefined;
      while (plan?.failed !== undefined) {
        // The next best branch breaks a rule itself, which nobody had reason to check before. It is marked in front of
        // the block that kept it from the tip: a crash between the two leaves a valid chain.
        marks.unshift(plan.failed.hash);
        marked.push(...tree.markInvalid(plan.failed));
        plan = await planMove(tree.best(), undefined, replaying);
      }
      if (!replaying) await store.append(marks.map((payload) => ({ kind: 'invalid', payload })));
      return plan === undefined || plan.reason !== undefined ? undefined : applyMove(plan, undefined);
    } catch (error) {
      for (const other of marked) other.invalid = false;
      throw error;
    }
  }

  /** Checks the way from the tip to a branch that ends with `parent`, or with a new block on it, changing nothing. */
  async function planMove(parent: BlockNode, block: KnownBlock | undefined, replaying: boolean): Promise<Plan> {
    const fork = tree.fork(parent);
    const overlay = createCoinOverlay(coins);
    const disconnected: ChangedBlock[] = [];
    for (let node = tree.tip; node !== fork; node = node.parent ?? fork) {
      await pacer.pause();
      const left = knownBlock(await readBlock(node));
      disconnectCoins(overlay, left.transactions, node.spent ?? []);
      disconnected.push({ node, block: left });
    }
    const branch: BlockNode[] = [];
    for (let node = parent; node !== fork; node = node.parent ?? fork) branch.unshift(node);
    const connected: Connected[] = [];
    for (const node of branch) {
      await pacer.pause();
      const joined = knownBlock(await readBlock(node));
      const scripts = replaying || node.spent !== undefined ? undefined : parts.scripts;
      const verdict = await connectBlock(joined, node.parent ?? fork, overlay, { tree, pacer, scripts });
      if (verdict.reason !== undefined) return { failed: node, reason: verdict.reason };
      connected.push({ node, block: joined, spent: verdict.spent });
    }
    if (block !== undefined) {
      const scripts = replaying ? undefined : parts.scripts;
      const verdict = await connectBlock(block, parent, overlay, { tree, pacer, scripts });
      if (verdict.reason !== undefined) return { failed: undefined, reason: verdict.reason };
      connected.push({ node: undefined, block, spent: verdict.spent });
    }
    return { overlay, disconnected, connected };
  }

  function applyMove(plan: Extract<Plan, { reason?: undefined }>, newNode: BlockNode | undefined): ChainChange {
    const oldTip = tree.tip;
    plan.overlay.commit();
    for (const { node, block } of plan.disconnected) {
      for (const known of block.transactions) places.delete(known.key);
      tree.setTip(node.parent ?? root);
    }
    const fork = tree.tip;
    const connected = plan.connected.map(({ node = newNode ?? root, block, spent }) => {
      node.spent = spent;
      block.transactions.forEach((known, index) => {
        places.set(known.key, { node, index });
      });
      tree.setTip(node);
      return { node, block };
    });
    return { oldTip, newTip: tree.tip, fork, disconnected: plan.disconnected, connected };
  }

  async function readBlock(node: BlockNode): Promise<Uint8Array> {
    return node === root ? genesis.raw : store.read(node.stored);
  }
}

/** Decodes a block that somebody handed in; the copy keeps it apart from their buffer. */
function decode(raw: Uint8Array): KnownBlock {
  try {
    return knownBlock(Uint8Array.from(raw));
  } catch (error) {
    if (!(error instanceof MalformedBytesError)) throw error;
    throw new HostError('INVALID_REQUEST', `the block does not decode: ${error.message}`, { cause: error });
  }
}

function makeNode(block: KnownBlock, parent: BlockNode | undefined, stored: StoredAt): BlockNode {
  return {
    hash: block.hash,
    height: parent === undefined ? 0 : parent.height + 1,
    parent,
    // Copies: a view would keep the whole block in memory for as long as its header.
    headerBytes: Uint8Array.from(block.headerBytes),
    header: {
      ...block.header,
      previousHash: Uint8Array.from(block.header.previousHash),
      merkleRoot: Uint8Array.from(block.header.merkleRoot),
    },
    chainWork: chainWorkAfter(parent, block.header.bits),
    medianTimeUnixS: medianTimeAfter(parent, block.header.timeUnixS),
    txCount: block.transactions.length,
    sizeBytes: block.raw.byteLength,
    weight: block.weight,
    stored,
    invalid: false,
    spent: undefined,
  };
}

function rejected(reason: string): SubmitBlockVerdict {
  return { outcome: 'rejected', reason };
}
