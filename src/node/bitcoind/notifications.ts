import { z } from 'zod';

import { HostError } from '../../contract/error.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import { hashText } from '../jsonrpc/answers.js';
import type { NodeWatch } from '../jsonrpc/node-watch.js';
import { type Poller, startPoller } from '../jsonrpc/poller.js';
import type { RpcClient } from '../jsonrpc/rpc-client.js';
import { isMissingCall } from '../jsonrpc/rpc-failure.js';
import type { BitcoindOptions } from './options.js';
import { chooseTopics, openZmqFeed, type ZmqFeed, type ZmqTopic } from './zmq-feed.js';

/** How long one waiting call stays at the node; it answers then even without a block. */
const LONG_POLL_MS = 30_000;

/** Room for the answer of a waiting call to arrive. */
const LONG_POLL_GRACE_MS = 10_000;

const notifications = z.array(z.object({ type: z.string(), address: z.string() }));

const waited = z.object({ hash: hashText });

/** What makes the node's own messages reach the watch. */
export interface Notifications {
  /** Finds out what the node publishes and listens to it. Never rejects: polling goes on in any case. */
  open(signal: AbortSignal): Promise<void>;
  /** The node may have restarted with another configuration. */
  reopen(): void;
  stop(): Promise<void>;
}

/** What the notifications need. */
export interface NotificationParts {
  rpc: RpcClient;
  /** A client of its own for the waiting call, so that it never holds up another. */
  waitingRpc: RpcClient;
  watch: () => NodeWatch;
  options: BitcoindOptions;
  /** Host of the RPC endpoint: stands in for the wildcard that a publisher is bound to. */
  rpcHost: string;
  clock: Clock;
  logger: Logger;
  random: () => number;
}

/** Makes the listening end; nothing happens before `open`. */
export function createNotifications(parts: NotificationParts): Notifications {
  const { rpc, waitingRpc, options, logger } = parts;
  const lifetime = new AbortController();
  let feed: ZmqFeed | undefined;
  let listening = '';
  let waiter: Poller | undefined;
  let opening: Promise<void> = Promise.resolve();

  const findTopics = async (signal: AbortSignal): Promise<ZmqTopic[]> => {
    if (options.zmq === false) return [];
    if (options.zmq !== 'auto') {
      const named = Object.entries(options.zmq).map(([topic, address]) => ({ topic, address: String(address) }));
      return chooseTopics(named.filter(({ address }) => address !== 'undefined'));
    }
    const told = await rpc.call('getzmqnotifications', [], notifications, { signal });
    const offered = told.map(({ type, address }) => ({
      topic: type.replace(/^pub/, ''),
      address: address.replace(/^tcp:\/\/(\*|0\.0\.0\.0|\[::\]):/, `tcp://${parts.rpcHost}:`),
    }));
    return chooseTopics(offered);
  };

  const listen = async (topics: readonly ZmqTopic[]): Promise<void> => {
    const watch = parts.watch();
    await feed?.stop();
    feed = await openZmqFeed(
      topics,
      {
        block: () => watch.blockHint(),
        mempool: () => watch.mempoolHint(),
        change: (kind, txid, mark) => watch.mempoolChange({ kind, txid, mark }),
        gap(topic) {
          logger.warn({ topic }, 'ZMQ messages were lost; comparing with the node');
          watch.gap();
        },
      },
      logger,
    );
    const names = feed?.topics ?? [];
    const sequence = names.includes('sequence');
    watch.told({ blocks: sequence || names.includes('hashblock'), mempool: sequence });
    // What happened before the subscription stood is found by comparing once more.
    watch.gap();
  };

  /** Holds one call at the node until its tip changes. */
  const wait = async (signal: AbortSignal): Promise<void> => {
    const timing = { signal, timeoutMs: LONG_POLL_MS + LONG_POLL_GRACE_MS };
    await waitingRpc.call('waitfornewblock', [LONG_POLL_MS], waited, timing);
    parts.watch().told({ blocks: true, mempool: false });
    parts.watch().blockHint();
  };

  const startWaiting = (): void => {
    if (!options.longPoll || waiter !== undefined) return;
    const ended = new AbortController();
    lifetime.signal.addEventListener('abort', () => ended.abort(lifetime.signal.reason), { once: true });
    waiter = startPoller(
      {
        run: wait,
        failed(error) {
          parts.watch().told({ blocks: false, mempool: false });
          if (!isMissingCall(error)) return;
          logger.info({ error: HostError.from(error).message }, 'the node has no waiting call; it is polled');
          ended.abort(error);
        },
        intervalMs: () => 0,
      },
      { clock: parts.clock, random: parts.random, signal: ended.signal },
    );
  };

  const open = async (signal: AbortSignal): Promise<void> => {
    let topics: ZmqTopic[] = [];
    try {
      topics = await findTopics(signal);
    } catch (error) {
      if (signal.aborted) return;
      logger.info({ error: HostError.from(error).message }, 'the node does not tell its ZMQ addresses');
    }
    const wanted = topics.map(({ topic, address }) => `${topic}@${address}`).join(' ');
    if (wanted !== listening) {
      listening = wanted;
      if (topics.length > 0) await listen(topics);
    }
    if (feed === undefined) startWaiting();
  };

  return {
    open: (signal) => {
      opening = opening.then(() => open(signal));
      return opening;
    },
    reopen() {
      opening = opening.then(() => (lifetime.signal.aborted ? undefined : open(lifetime.signal)));
    },
    async stop() {
      lifetime.abort(new HostError('CANCELLED', 'the node adapter stops'));
      await opening;
      await Promise.all([feed?.stop(), waiter?.done()]);
    },
  };
}
