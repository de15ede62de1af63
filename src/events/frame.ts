import { Event } from '../../gen/ts/modhost/event/v1/event.js';
import { Gap } from '../../gen/ts/modhost/event/v1/event_service.js';
import type { EventPayload } from '../contract/event-type.js';

/**
 * Events in the form in which a SubscribeResponse carries them: tag, length, bytes. A batch is frames laid end to end, so
 * that an event is encoded once and copied once per subscriber, whatever the batch is made of.
 *
 * @see protobuf.dev, "Encoding": repeated message fields may be concatenated in any order
 */

/** Size up to which a batch is filled, bytes: far under the 4 MiB that stock clients accept. */
export const MAX_BATCH_BYTES = 1024 * 1024;

// field number << 3 | wire type: 2 = length-delimited, 0 = varint (SubscribeResponse in event_service.proto)
const TAG_EVENTS = (1 << 3) | 2;
const TAG_GAPS = (2 << 3) | 2;
const TAG_DROPPED_TOTAL = 3 << 3;
const TAG_LIVE = 4 << 3;
const TAG_WALK_FROM = (5 << 3) | 2;

/** What the host stamps on an event. */
export interface EventStamp {
  sequence: bigint;
  timeUnixMs: bigint;
  source: string;
  replayed: boolean;
}

/** An event as a field of a batch. */
export interface EventFrame {
  /** Tag, length and event. */
  readonly frame: Buffer;
  /** Encoded size of the event alone; what the accounting counts. */
  readonly bytes: number;
}

/** Encodes an event. Throws whatever the generated code throws on a payload that does not fit its type. */
export function encodeEvent(payload: EventPayload, stamp: EventStamp): EventFrame {
  const event = Event.encode({ ...stamp, payload }).finish();
  return { frame: delimited(TAG_EVENTS, event), bytes: event.byteLength };
}

/** What a batch carries besides events. */
export interface BatchTail {
  gaps: readonly Gap[];
  droppedTotal: bigint;
  live: boolean;
  walkFrom: Uint8Array | undefined;
}

/** Bytes of a SubscribeResponse. */
export function encodeBatch(frames: readonly Buffer[], tail: BatchTail): Buffer {
  const parts = [...frames];
  for (const gap of tail.gaps) parts.push(delimited(TAG_GAPS, Gap.encode(gap).finish()));
  if (tail.droppedTotal > 0n) parts.push(Buffer.from([TAG_DROPPED_TOTAL, ...varint(tail.droppedTotal)]));
  if (tail.live) parts.push(Buffer.from([TAG_LIVE, 1]));
  if (tail.walkFrom !== undefined) parts.push(delimited(TAG_WALK_FROM, tail.walkFrom));
  return Buffer.concat(parts);
}

function delimited(tag: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([tag, ...varint(BigInt(bytes.byteLength))]), bytes]);
}

/** Seven bits a byte, lowest first, the top bit set on all but the last. */
function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}
