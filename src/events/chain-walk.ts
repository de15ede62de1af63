import { HostError, throwIfAborted } from '../contract/error.js';
import type { EventPayload } from '../contract/event-type.js';
import { createBackoff } from '../core/backoff.js';
import { previousHashOf } from '../core/bitcoin/header.js';
import { equalBytes, hashToDisplay } from '../core/bytes.js';
import { delay } from '../core/delay.js';
import type { ChainReader, WalkBlock } from './chain-reader.js';

/** Blocks read ahead of the reader: a stalled module costs the host this much and no more. */
export const MAX_READ_AHEAD = 16;
/** Headers in one BlockSyncProgress while the node downloads: 160 kB. */
export const MAX_BULK_HEADERS = 2_000;
/** Rounds in which the chain may move under one advance before the walk takes a breath. */
const MAX_ROUNDS = 8;
/** Waits for a node that cannot be asked; half a minute is noticed by nobody who waits for blocks. */
const NODE_WAIT = { firstMs: 200, maxMs: 30_000, jitter: 0.3 };

/** What one advance of a walk yields. */
export interface WalkRun {
  /** In the order of the chain; at most MAX_READ_AHEAD and a ChainReorg. Empty only at the tip. */
  readonly events: readonly EventPayload[];
  /** True when the walk stood at the node's tip. */
  readonly atTip: boolean;
}

/**
 * The way from one block to the node's tip, and on with it, for one subscriber: BlockDisconnected down to the active
 * chain, NewBlock up. It reads only when asked to advance, holds one position and no queue, so a slow reader delays it
 * and loses nothing. Each step starts from the position and asks whether it is still on the active chain, so a switch
 * in the middle of the way turns the walk round.
 */
export interface ChainWalk {
  /** Hash of the locator at which the walk begins. */
  readonly from: Uint8Array;
  /**
   * The next steps. A node that cannot be asked is waited for, with backoff, until the signal fires.
   *
   * @throws CURSOR_UNKNOWN when the node no longer knows the block that must be undone, or as the signal says
   */
  advance(signal: AbortSignal): Promise<WalkRun>;
}

/** What a walk is made of. */
export interface ChainWalkOptions {
  reader: ChainReader;
  /** Whether ChainReorg is wanted at this moment. */
  wantsReorg: () => boolean;
  /** Numbers in [0, 1), for the spread of retries. */
  random: () => number;
}

interface Position {
  hash: Uint8Array;
  height: number;
}

/** A switch of branches that is under way: it is told when the walk is at the tip. */
interface Switch {
  oldTip: Position;
  disconnected: number;
  connected: number;
  fork: Position;
}

/**
 * Finds where a locator meets what the node knows, and makes the walk from there.
 *
 * @param locator hashes from the last handled block backwards, 32 bytes each, at least one
 * @throws CURSOR_UNKNOWN, NODE_UNAVAILABLE and whatever the node answers: nothing is retried before the walk stands
 */
export async function startChainWalk(
  locator: readonly Uint8Array[],
  options: ChainWalkOptions,
  signal: AbortSignal,
): Promise<ChainWalk> {
  for (const hash of locator) {
    const block = await options.reader.block(hash, signal);
    if (block !== undefined) return createWalk(block, options);
  }
  const tip = await options.reader.tip(signal);
  throw new HostError(
    'CURSOR_UNKNOWN',
    `the node knows no block of the cursor; its tip is ${hashToDisplay(tip.hash)} at height ${tip.height}`,
    { details: { tipHash: hashToDisplay(tip.hash), tipHeight: tip.height } },
  );
}

function createWalk(start: Position, { reader, wantsReorg, random }: ChainWalkOptions): ChainWalk {
  let position: Position = { hash: start.hash, height: start.height };
  let turning: Switch | undefined;
  const backoff = createBackoff(NODE_WAIT, random);

  /** What is told of a switch that ended at `newTip`. */
  const summary = (done: Switch, newTip: Position): EventPayload[] => {
    if (!wantsReorg()) return [];
    const { oldTip, fork, disconnected, connected } = done;
    return [
      {
        $case: 'chainReorg',
        value: {
          oldTip: oldTip.hash,
          newTip: newTip.hash,
          oldHeight: oldTip.height,
          newHeight: newTip.height,
          forkHeight: fork.height,
          forkHash: fork.hash,
          disconnected,
          connected,
        },
      },
    ];
  };

  /** Down one block; a switch that had begun to connect ends here, and another begins. */
  const stepDown = async (signal: AbortSignal): Promise<EventPayload[]> => {
    const block = await reader.block(position.hash, signal);
    if (block === undefined || position.height === 0) {
      throw new HostError('CURSOR_UNKNOWN', `the node no longer knows block ${hashToDisplay(position.hash)}`);
    }
    const left = position;
    const ended = turning !== undefined && turning.connected > 0 ? summary(turning, left) : [];
    if (turning === undefined || turning.connected > 0) {
      turning = { oldTip: left, disconnected: 0, connected: 0, fork: left };
    }
    position = { hash: Uint8Array.from(previousHashOf(block.header)), height: left.height - 1 };
    turning.disconnected += 1;
    turning.fork = position;
    const { hash: blockHash, height } = left;
    return [...ended, { $case: 'blockDisconnected', value: { blockHash, height, header: block.header } }];
  };

  const onActiveChain = async (signal: AbortSignal): Promise<boolean> => {
    const active = await reader.hashAt(position.height, signal);
    return active !== undefined && equalBytes(active, position.hash);
  };

  /** Up through blocks that follow each other; stops at the first that does not, since the chain has moved. */
  const stepUp = (blocks: readonly WalkBlock[]): WalkBlock[] => {
    const linked: WalkBlock[] = [];
    for (const block of blocks) {
      if (!equalBytes(previousHashOf(block.header), position.hash)) break;
      linked.push(block);
      position = { hash: block.hash, height: block.height };
      if (turning !== undefined) turning.connected += 1;
    }
    return linked;
  };

  const connect = async (signal: AbortSignal): Promise<{ events: EventPayload[]; atTip: boolean; moved: boolean }> => {
    const sync = await reader.sync(signal);
    const limit = sync.initialBlockDownload ? MAX_BULK_HEADERS : MAX_READ_AHEAD;
    const read = await reader.blocks(position.height + 1, limit, signal);
    const first = read[0];
    if (first === undefined) return { events: [], atTip: true, moved: false };
    // asked before the position moves: a node that fails here has taken nothing from the reader
    const pruned = sync.initialBlockDownload ? 0 : await prunedBelow(read, signal);
    const blocks = stepUp(read);
    const last = blocks.at(-1);
    if (last === undefined) return { events: [], atTip: false, moved: true };
    const atTip = read.length < limit && blocks.length === read.length;
    if (!sync.initialBlockDownload) return { events: blocks.map((b) => newBlock(b, pruned)), atTip, moved: false };
    const bulk: EventPayload = {
      $case: 'blockSyncProgress',
      value: {
        currentHeight: last.height,
        targetHeight: sync.headers,
        progressPercent: Math.min(100, Math.max(0, sync.progress * 100)),
        blocksPerSecond: 0,
        headers: blocks.map((block) => block.header),
        firstHeight: first.height,
      },
    };
    return { events: [bulk], atTip, moved: false };
  };

  /** Blocks with a known size were read in full, so their bodies are there. */
  const prunedBelow = async (blocks: readonly WalkBlock[], signal: AbortSignal): Promise<number> =>
    blocks.every((block) => block.sizeBytes > 0) ? 0 : reader.pruneHeight(signal);

  const reorgAtTip = (): EventPayload[] => {
    const done = turning;
    turning = undefined;
    return done === undefined ? [] : summary(done, position);
  };

  /** Steps taken are collected in `events` at once, so that a node that fails in between cannot take them back. */
  const run = async (events: EventPayload[], signal: AbortSignal): Promise<boolean> => {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      while (!(await onActiveChain(signal))) {
        events.push(...(await stepDown(signal)));
        if (events.length >= MAX_READ_AHEAD) return false;
      }
      const up = await connect(signal);
      events.push(...up.events);
      if (up.atTip) events.push(...reorgAtTip());
      if (up.atTip || !up.moved) return up.atTip;
    }
    throw new HostError('NODE_BUSY', 'the chain moves faster than it can be read');
  };

  return {
    from: start.hash,
    async advance(signal) {
      const events: EventPayload[] = [];
      for (;;) {
        throwIfAborted(signal);
        try {
          const atTip = await run(events, signal);
          backoff.reset();
          return { events, atTip };
        } catch (thrown) {
          throwIfAborted(signal);
          const error = HostError.from(thrown);
          // what was found before the trouble is told first; the trouble will be met again
          if (events.length > 0) return { events, atTip: false };
          if (error.reason === 'CURSOR_UNKNOWN') throw error;
          await delay(Math.max(error.retryAfterMs ?? 0, backoff.nextMs()), signal);
        }
      }
    },
  };
}

function newBlock(block: WalkBlock, prunedBelow: number): EventPayload {
  return {
    $case: 'newBlock',
    value: {
      blockHash: block.hash,
      height: block.height,
      header: block.header,
      txCount: block.txCount,
      size: block.sizeBytes,
      weight: block.weight,
      headersOnly: block.height < prunedBelow,
    },
  };
}
