import type {
  StreamBlocksRequest,
  StreamBlocksResponse,
  StreamHeadersRequest,
  StreamHeadersResponse,
} from '../../gen/ts/modhost/v1/chain.js';
import { HostError } from '../contract/error.js';
import { HEADER_BYTES, previousHashOf } from '../core/bitcoin/header.js';
import { equalBytes } from '../core/bytes.js';
import type { BlockAt, NodeApi } from '../node/node-api.js';
import { toHeader } from './decoded.js';
import { fetchAhead } from './fetch-ahead.js';

/** Blocks fetched before the reader asks: keeps the node busy, and at most 8 MB waiting for each stream. */
const BLOCKS_AHEAD = 2;

/** Headers of one message: about 230 KiB. */
export const HEADERS_PER_MESSAGE = 1_000;

type Range = Pick<StreamBlocksRequest, 'fromHeight' | 'toHeight' | 'count'>;

/**
 * Blocks of the active chain, upwards, each the child of the one before.
 *
 * @throws OUT_OF_RANGE, NO_CHAIN_HEIGHT before the first block; TIP_MOVED when a reorganisation breaks the walk
 */
export async function* streamBlocks(
  node: NodeApi,
  request: StreamBlocksRequest,
  signal: AbortSignal,
): AsyncGenerator<StreamBlocksResponse, void, undefined> {
  const { first, last } = await settleRange(node, request, signal);
  const blocks = fetchAhead(heights(first, last), BLOCKS_AHEAD, signal, async (height, inner) => {
    const hash = await unlessGone(() => node.chain.getHash(height, inner));
    return node.chain.getBlock(hash, inner);
  });
  let parent: Uint8Array | undefined;
  for await (const block of blocks) {
    parent = assertChild(block, parent);
    yield { hash: block.hash, height: block.height, raw: block.raw };
  }
}

/**
 * Headers of the active chain, upwards, each the child of the one before.
 *
 * @throws OUT_OF_RANGE, NO_CHAIN_HEIGHT before the first header; TIP_MOVED when a reorganisation breaks the walk
 */
export async function* streamHeaders(
  node: NodeApi,
  request: StreamHeadersRequest,
  signal: AbortSignal,
): AsyncGenerator<StreamHeadersResponse, void, undefined> {
  const { first, last } = await settleRange(node, request, signal);
  let parent: Uint8Array | undefined;
  for (let next = first; next <= last; ) {
    const count = Math.min(HEADERS_PER_MESSAGE, last - next + 1);
    const page = await unlessGone(() => node.chain.getHeaders(next, count, signal));
    if (page.length === 0) throw tipMoved();
    for (const at of page) {
      if (parent !== undefined && !equalBytes(previousHashOf(at.header), parent)) throw tipMoved();
      parent = at.hash;
    }
    yield { headers: page.map(toHeader) };
    next += page.length;
  }
}

/** First and last height of a range, settled against the tip as it is now. */
async function settleRange(
  node: NodeApi,
  { fromHeight, toHeight, count }: Range,
  signal: AbortSignal,
): Promise<{ first: number; last: number }> {
  if (toHeight !== 0 && toHeight < fromHeight) {
    throw new HostError('OUT_OF_RANGE', `to_height ${toHeight} is below from_height ${fromHeight}`);
  }
  const { tip } = await node.chain.getState(signal);
  const end = toHeight === 0 ? tip.height : toHeight;
  const highest = Math.max(fromHeight, end);
  if (highest > tip.height) {
    throw new HostError('NO_CHAIN_HEIGHT', `height ${highest} is above the tip at ${tip.height}`);
  }
  return { first: fromHeight, last: count === 0 ? end : Math.min(end, fromHeight + count - 1) };
}

function* heights(first: number, last: number): Generator<number, void, undefined> {
  for (let height = first; height <= last; height++) yield height;
}

function assertChild(block: BlockAt, parent: Uint8Array | undefined): Uint8Array {
  if (block.raw.byteLength < HEADER_BYTES) throw new HostError('NODE_ERROR', 'the node gave a block without a header');
  if (parent !== undefined && !equalBytes(previousHashOf(block.raw), parent)) throw tipMoved();
  return block.hash;
}

/** A height that was there when the walk began and is gone now means that the chain became shorter. */
async function unlessGone<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof HostError && error.reason === 'NO_CHAIN_HEIGHT') throw tipMoved();
    throw error;
  }
}

function tipMoved(): HostError {
  return new HostError('TIP_MOVED', 'a reorganisation broke the walk; find the common ancestor and go on from there');
}
