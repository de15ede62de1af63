import { type Event, EventType } from '../../gen/ts/modhost/event/v1/event.js';
import { BlockFormat } from '../../gen/ts/modhost/v1/bitcoin.js';
import type { ChainServiceService } from '../../gen/ts/modhost/v1/chain.js';
import { blockHash, previousHashOf } from '../core/bitcoin/header.js';
import { equalBytes } from '../core/bytes.js';
import type { ServiceClient } from './call.js';
import { advanceCursor, type ChainCursor, type ChainPosition, retreatCursor, rollbackCursor } from './cursor.js';
import { ModhostError } from './error.js';
import { type EventItem, type EventName, eventTypes } from './events.js';
import { keepSubscribed, primed, type SubscriptionLink } from './subscription.js';

/** A block joined the active chain, on top of the module's position. */
export interface BlockConnected extends ChainPosition {
  readonly kind: 'connect';
  /** 80 bytes. */
  readonly header: Uint8Array;
  /** Transactions; 0 = not known. */
  readonly txCount: number;
  /** Serialised size in bytes; 0 = not known. */
  readonly sizeBytes: number;
  /** Weight units; 0 = not known. */
  readonly weight: number;
  /** True when the node has pruned the body: ChainService.GetBlock would answer BLOCK_PRUNED. */
  readonly headersOnly: boolean;
  /** The module's position once it has handled this. */
  readonly cursor: ChainCursor;
}

/** The block at the module's position left the active chain: undo what was done at its connect. */
export interface BlockDisconnected extends ChainPosition {
  readonly kind: 'disconnect';
  readonly header: Uint8Array;
  readonly cursor: ChainCursor;
}

/**
 * The node does not know the newest blocks of the cursor (it was replaced, or lost them), so no disconnect can come for
 * them: undo everything above `to`. A cursor has holes, so there may be more such blocks than `unknown` lists.
 */
export interface ChainRollback {
  readonly kind: 'rollback';
  readonly to: ChainPosition;
  /** The blocks of the cursor above `to`, the newest first. */
  readonly unknown: ChainCursor;
  readonly cursor: ChainCursor;
}

/** The module stands at the node's tip; told again after each interruption. */
export interface ChainLive {
  readonly kind: 'live';
  readonly cursor: ChainCursor;
}

/** What following the chain yields, in the order in which to handle it. */
export type ChainChange = BlockConnected | BlockDisconnected | ChainRollback | ChainLive | EventItem;

/** Where to begin, and what else to hear. */
export interface FollowOptions {
  /**
   * `cursor` of the last change that the module has handled and kept; or `'tip'`: begin with the next block (needs
   * read_chain_state); or `'genesis'`: the whole chain (needs read_blockchain). An empty cursor counts as `'tip'`.
   */
  cursor: ChainCursor | 'tip' | 'genesis';
  /** Events to hear besides; the session has only one subscription. */
  types?: readonly EventName[];
  topics?: readonly string[];
  /** Ends the iteration. */
  signal?: AbortSignal;
}

type Chain = Pick<ServiceClient<typeof ChainServiceService>, 'getChainTip' | 'getBlockByHeight'>;

/** Types that a walk consists of. */
const WALK_TYPES: readonly EventType[] = [EventType.NEW_BLOCK, EventType.BLOCK_DISCONNECTED];

/**
 * Follows the chain from a cursor: every connect and disconnect once, in order, across reorganisations, dropped streams
 * and restarts of the host. A change counts as handled when the next one is asked for. Resolves when the subscription
 * stands.
 *
 * @throws ModhostError CURSOR_UNKNOWN when the node knows none of the cursor's blocks, MISSING_PERMISSION, STREAM_EXISTS;
 *   while iterating also PROTOCOL_VIOLATION for a host that skips a block
 */
export async function openFollow(
  link: SubscriptionLink,
  chain: Chain,
  options: FollowOptions,
  signal: AbortSignal,
): Promise<AsyncGenerator<ChainChange, void, undefined>> {
  const start = await startOf(chain, options.cursor, signal);
  const types = [...new Set([...WALK_TYPES, ...eventTypes(options.types ?? [])])];
  return primed(changes(link, { types, topics: [...(options.topics ?? [])] }, start, signal));
}

async function startOf(chain: Chain, cursor: FollowOptions['cursor'], signal: AbortSignal): Promise<ChainCursor> {
  if (cursor === 'genesis') {
    const { hash } = await chain.getBlockByHeight({ height: 0, format: BlockFormat.HEADER }, { signal });
    return [{ hash, height: 0 }];
  }
  if (cursor !== 'tip' && cursor.length > 0) return cursor;
  const { hash, height } = await chain.getChainTip({}, { signal });
  return [{ hash, height }];
}

async function* changes(
  link: SubscriptionLink,
  filter: { types: EventType[]; topics: string[] },
  start: ChainCursor,
  signal: AbortSignal,
): AsyncGenerator<ChainChange | undefined, void, undefined> {
  const hearsMore = filter.types.length > WALK_TYPES.length || filter.topics.length > 0;
  let cursor = start;
  let stood = false;
  let live = false;
  const request = () => ({ ...filter, chainCursor: cursor.map(({ hash }) => hash) });
  for await (const { response, first } of keepSubscribed(link, request, signal)) {
    if (first) {
      live = false;
      if (!stood) yield undefined;
      else if (hearsMore) yield { kind: 'interrupted' };
      stood = true;
      const rolled = rollbackCursor(cursor, response.walkFrom);
      if (rolled === undefined) throw violation('the host walks from a block that is not in the cursor');
      cursor = rolled.cursor;
      if (rolled.unknown.length > 0) yield { kind: 'rollback', to: rolled.to, unknown: rolled.unknown, cursor };
    }
    for (const gap of response.gaps) yield { kind: 'gap', gap };
    for (const event of response.events) {
      for (const change of changesOf(event, cursor)) {
        if ('cursor' in change) cursor = change.cursor;
        yield change;
      }
    }
    if (response.live && !live) {
      live = true;
      yield { kind: 'live', cursor };
    }
  }
}

/** The changes that one event stands for; bulk headers of an initial download are as many connects. */
function* changesOf(event: Event, cursor: ChainCursor): Generator<ChainChange> {
  const { payload } = event;
  switch (payload?.$case) {
    case 'newBlock': {
      const { blockHash: hash, height, header, txCount, size: sizeBytes, weight, headersOnly } = payload.value;
      yield connected({ hash, height, header, txCount, sizeBytes, weight, headersOnly }, cursor);
      return;
    }
    case 'blockDisconnected':
      yield disconnected(payload.value, cursor);
      return;
    case 'blockSyncProgress': {
      let position = cursor;
      for (const [index, header] of payload.value.headers.entries()) {
        const block = { hash: blockHash(header), height: payload.value.firstHeight + index, header };
        const change = connected({ ...block, txCount: 0, sizeBytes: 0, weight: 0, headersOnly: false }, position);
        position = change.cursor;
        yield change;
      }
      if (payload.value.headers.length === 0) yield { kind: 'event', event };
      return;
    }
    default:
      yield { kind: 'event', event };
  }
}

function connected(block: Omit<BlockConnected, 'kind' | 'cursor'>, cursor: ChainCursor): BlockConnected {
  const below = cursor[0];
  if (below === undefined || !equalBytes(previousHashOf(block.header), below.hash)) {
    throw violation(`the block at height ${block.height} does not follow the module's position`);
  }
  return { kind: 'connect', ...block, cursor: advanceCursor(cursor, { hash: block.hash, height: block.height }) };
}

function disconnected(
  { blockHash: hash, height, header }: { blockHash: Uint8Array; height: number; header: Uint8Array },
  cursor: ChainCursor,
): BlockDisconnected {
  const top = cursor[0];
  if (top === undefined || !equalBytes(top.hash, hash)) {
    throw violation(`the block that leaves at height ${height} is not the module's position`);
  }
  const parent = { hash: Uint8Array.from(previousHashOf(header)), height: height - 1 };
  return { kind: 'disconnect', hash, height, header, cursor: retreatCursor(cursor, parent) };
}

function violation(message: string): ModhostError {
  return new ModhostError('PROTOCOL_VIOLATION', message);
}
