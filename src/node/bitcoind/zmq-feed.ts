import type { Subscriber } from 'zeromq';

import type { Logger } from '../../core/logger.js';

/** Where a topic is published. */
export interface ZmqTopic {
  /** `sequence`, `hashblock`, `hashtx`, `rawtx`; others are not used. */
  topic: string;
  /** `tcp://host:port` or `ipc://path`. */
  address: string;
}

/** What the feed tells. None of these may throw. */
export interface ZmqListener {
  /** A block was connected or disconnected, or there is a new tip. */
  block(): void;
  /** A transaction entered or left the mempool (`sequence`): id in internal byte order, the node's number of the change. */
  change(kind: 'added' | 'removed', txid: Uint8Array, mark: bigint): void;
  /** The mempool may have changed (`hashtx`, `rawtx`). */
  mempool(): void;
  /** Messages were lost, or the publisher started again. */
  gap(topic: string): void;
}

/** A running subscription. */
export interface ZmqFeed {
  /** Topics that it listens to. */
  readonly topics: readonly string[];
  stop(): Promise<void>;
}

/**
 * Messages that wait unread at most. A block of a full mempool sends some thousands at once; what is dropped above
 * this shows as a gap and is made good by comparison.
 */
const MAX_WAITING_MESSAGES = 50_000;

/** Largest message that is read: a transaction that fills a block. */
const MAX_MESSAGE_BYTES = 4_100_000;

/** A message's own counter is 32 bits. */
const COUNTER_LIMIT = 2 ** 32;

/** The topics worth subscribing to: `sequence` tells all; without it the tip's hash and, as a mere hint, transactions. */
export function chooseTopics(offered: readonly ZmqTopic[]): ZmqTopic[] {
  const first = (topic: string): ZmqTopic | undefined => offered.find((item) => item.topic === topic);
  const sequence = first('sequence');
  if (sequence !== undefined) return [sequence];
  const chosen = [first('hashblock'), first('hashtx') ?? first('rawtx')];
  return chosen.filter((item) => item !== undefined);
}

/**
 * Subscribes; undefined when the optional package `zeromq` is not installed. The library reconnects by itself and
 * tells nothing of it: silence is no proof of life, so the caller polls slowly as well.
 */
export async function openZmqFeed(
  topics: readonly ZmqTopic[],
  listener: ZmqListener,
  logger: Logger,
): Promise<ZmqFeed | undefined> {
  let socket: Subscriber;
  try {
    const zeromq = await import('zeromq');
    socket = new zeromq.Subscriber({
      receiveHighWaterMark: MAX_WAITING_MESSAGES,
      maxMessageSize: MAX_MESSAGE_BYTES,
      linger: 0,
      reconnectInterval: 100,
      reconnectMaxInterval: 5_000,
    });
  } catch (error) {
    logger.warn({ error: String(error) }, 'the package zeromq cannot be loaded; the node is polled instead');
    return undefined;
  }
  for (const address of new Set(topics.map((item) => item.address))) socket.connect(address);
  for (const { topic } of topics) socket.subscribe(topic);
  const reading = read(socket, listener, logger);
  return {
    topics: topics.map((item) => item.topic),
    async stop() {
      socket.close();
      await reading;
    },
  };
}

async function read(socket: Subscriber, listener: ZmqListener, logger: Logger): Promise<void> {
  const counters = new Map<string, number>();
  try {
    for await (const frames of socket) dispatch(frames, counters, listener);
  } catch (error) {
    if (!socket.closed) logger.error({ error: String(error) }, 'ZMQ broke off; the node is polled from now on');
  }
}

/** One message: topic, body, counter. Anything else is not Bitcoin Core's and is left alone. Core: doc/zmq.md */
function dispatch(frames: readonly Buffer[], counters: Map<string, number>, listener: ZmqListener): void {
  const [name, body, counter] = frames;
  if (name === undefined || body === undefined || counter?.byteLength !== 4) return;
  const topic = name.toString('latin1');
  const number = counter.readUInt32LE(0);
  const last = counters.get(topic);
  counters.set(topic, number);
  // The first message is a beginning, not a gap: the state was compared when the subscription was made.
  if (last !== undefined && number !== (last + 1) % COUNTER_LIMIT) listener.gap(topic);
  if (topic === 'sequence') dispatchSequence(body, listener);
  else if (topic === 'hashblock') listener.block();
  else if (topic === 'hashtx' || topic === 'rawtx') listener.mempool();
}

function dispatchSequence(body: Buffer, listener: ZmqListener): void {
  if (body.byteLength < 33) return;
  const label = String.fromCharCode(body[32] ?? 0);
  if (label === 'C' || label === 'D') listener.block();
  if ((label !== 'A' && label !== 'R') || body.byteLength < 41) return;
  // The hash comes in display order.
  const txid = Uint8Array.from(body.subarray(0, 32)).reverse();
  listener.change(label === 'A' ? 'added' : 'removed', txid, body.readBigUInt64LE(33));
}
