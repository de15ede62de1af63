import { setTimeout as sleep } from 'node:timers/promises';
import { Publisher } from 'zeromq';
import { iterateBlockTransactions } from '../../../src/core/bitcoin/block.js';
import { txid } from '../../../src/core/bitcoin/transaction.js';
import { reversed } from '../../../src/core/bytes.js';
import type { NodeApi, NodeEvent } from '../../../src/node/node-api.js';

/** Topics of Bitcoin Core's publisher. */
export const ZMQ_TOPICS = ['sequence', 'hashblock', 'rawblock', 'hashtx', 'rawtx'] as const;
/** One of them. */
export type ZmqTopic = (typeof ZMQ_TOPICS)[number];

/** Core's default high-water mark, messages; beyond it a slow reader loses them unseen. */
const HIGH_WATER_MARK = 1_000;
/** A port that was just closed may take some tries to bind again. */
const BIND_TRIES = 50;
const BIND_PAUSE_MS = 20;

/**
 * A real ZMQ publisher with Bitcoin Core's frames: topic, body, and a 4-byte little-endian counter per topic that
 * starts at 0 with the node. Hashes are in display order in `hashblock`, `hashtx` and `sequence`; raw bodies are as
 * relayed.
 *
 * @see Bitcoin Core, doc/zmq.md
 */
export interface ZmqPublisher {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Publishes what Core would for this event; in order. */
  tell(event: NodeEvent, mempoolSequence: bigint): void;
  /** The next `count` messages are counted but never sent, as when a reader is too slow. */
  loseFrames(count: number): void;
  /** Resolves when everything told so far was handed to the socket. */
  flushed(): Promise<void>;
}

/** A publisher of some topics at an address. */
export function createPublisher(address: string, topics: readonly ZmqTopic[], node: NodeApi): ZmqPublisher {
  let socket: Publisher | undefined;
  let counters = new Map<ZmqTopic, number>();
  let queue: Promise<void> = Promise.resolve();
  let toLose = 0;
  let tipWaiting: Uint8Array | undefined;

  let failure: unknown;

  const later = (work: () => Promise<void>): void => {
    queue = queue.then(work).catch((error: unknown) => {
      failure ??= error;
    });
  };

  const send = (topic: ZmqTopic, body: Uint8Array): void => {
    if (!topics.includes(topic)) return;
    later(async () => {
      if (socket === undefined) return;
      const count = counters.get(topic) ?? 0;
      counters.set(topic, (count + 1) >>> 0);
      if (toLose > 0) {
        toLose -= 1;
        return;
      }
      const counter = Buffer.alloc(4);
      counter.writeUInt32LE(count);
      await socket.send([topic, Buffer.from(body), counter]);
    });
  };

  const sequence = (hash: Uint8Array, label: string, mempoolSequence?: bigint): void => {
    const number = Buffer.alloc(mempoolSequence === undefined ? 0 : 8);
    if (mempoolSequence !== undefined) number.writeBigUInt64LE(mempoolSequence);
    send('sequence', Uint8Array.of(...reversed(hash), label.charCodeAt(0), ...number));
  };

  const transactionsOf = (hash: Uint8Array): void => {
    if (!topics.includes('rawtx') && !topics.includes('hashtx')) return;
    const frames: (() => void)[] = [];
    later(async () => {
      const { raw } = await node.chain.getBlock(hash, AbortSignal.timeout(10_000));
      for (const item of iterateBlockTransactions(raw)) {
        frames.push(() => send('hashtx', reversed(txid(item.transaction))));
        frames.push(() => send('rawtx', item.raw));
      }
    });
    later(async () => {
      // Sent behind what waits already; Core gives no order between topics either.
      for (const frame of frames) frame();
    });
  };

  /** hashblock and rawblock tell only the tip that a whole activation ends at. */
  const tipMoved = (hash: Uint8Array): void => {
    if (tipWaiting === undefined) {
      setImmediate(() => {
        const tip = tipWaiting;
        tipWaiting = undefined;
        if (tip === undefined) return;
        send('hashblock', reversed(tip));
        if (!topics.includes('rawblock')) return;
        later(async () => {
          const { raw } = await node.chain.getBlock(tip, AbortSignal.timeout(10_000));
          send('rawblock', raw);
        });
      });
    }
    tipWaiting = hash;
  };

  return {
    async start() {
      counters = new Map();
      for (let tries = 1; ; tries++) {
        const fresh = new Publisher({ sendHighWaterMark: HIGH_WATER_MARK, linger: 0 });
        try {
          await fresh.bind(address);
          socket = fresh;
          return;
        } catch (error) {
          fresh.close();
          if (tries >= BIND_TRIES) throw error;
          await sleep(BIND_PAUSE_MS);
        }
      }
    },
    async stop() {
      await queue;
      const closing = socket;
      socket = undefined;
      if (closing === undefined) return;
      await closing.unbind(address).catch(() => undefined);
      closing.close();
    },
    tell(event, mempoolSequence) {
      if (event.type === 'BlockConnected') {
        transactionsOf(event.hash);
        sequence(event.hash, 'C');
        tipMoved(event.hash);
      } else if (event.type === 'BlockDisconnected') {
        transactionsOf(event.hash);
        sequence(event.hash, 'D');
      } else if (event.type === 'TransactionAdded') {
        sequence(event.txid, 'A', mempoolSequence);
        send('hashtx', reversed(event.txid));
        if (topics.includes('rawtx')) {
          later(async () => {
            const raw = await node.mempool?.getRaw(event.txid, AbortSignal.timeout(10_000));
            if (raw !== undefined) send('rawtx', raw);
          });
        }
      } else if (event.type === 'TransactionRemoved' && event.reason !== 'confirmed') {
        // Core tells a removal only when it is not by a block.
        sequence(event.txid, 'R', mempoolSequence);
      }
    },
    loseFrames(count) {
      toLose += count;
    },
    async flushed() {
      // A job may have queued others behind itself.
      for (let seen: Promise<void> | undefined; seen !== queue; ) {
        seen = queue;
        await seen;
      }
      if (failure !== undefined) throw failure;
    },
  };
}
