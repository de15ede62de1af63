import type { WebSocket } from 'ws';

import { HostError } from '../../contract/error.js';
import { createBackoff } from '../../core/backoff.js';
import { hashFromDisplay } from '../../core/bytes.js';
import { delay } from '../../core/delay.js';
import type { Logger } from '../../core/logger.js';

/** Waits between two attempts to connect. */
const RECONNECT_BACKOFF = { firstMs: 250, maxMs: 10_000, jitter: 0.3 };

/** Largest message: a block notification carries a header and no transactions, as none are filtered for. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** A connection that is silent for this long is asked whether it lives. */
const PING_INTERVAL_MS = 20_000;

/** Time for the handshake. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Where and how to connect. */
export interface WebsocketOptions {
  /** `ws://…/ws` or `wss://…/ws`. */
  url: string;
  user: string;
  password: string;
  /** Certificate to trust, read at each attempt: btcd may have made a new one. */
  readCa: () => Promise<Buffer | undefined>;
}

/** What the connection tells. None of these may throw. */
export interface WebsocketListener {
  /** Subscribed; what happened before is unknown. */
  open(): void;
  /** Lost; it is being made again. */
  closed(): void;
  block(): void;
  transaction(txid: Uint8Array): void;
}

/** A connection that is kept until `stop`. */
export interface WebsocketFeed {
  stop(): Promise<void>;
}

/** Connects and subscribes, again and again; undefined when the optional package `ws` is not installed. */
export async function openWebsocketFeed(
  options: WebsocketOptions,
  listener: WebsocketListener,
  logger: Logger,
  random: () => number,
): Promise<WebsocketFeed | undefined> {
  let Socket: typeof WebSocket;
  try {
    Socket = (await import('ws')).WebSocket;
  } catch (error) {
    logger.warn({ error: String(error) }, 'the package ws cannot be loaded; the node is polled instead');
    return undefined;
  }
  const lifetime = new AbortController();
  const backoff = createBackoff(RECONNECT_BACKOFF, random);
  const authorization = `Basic ${Buffer.from(`${options.user}:${options.password}`, 'utf8').toString('base64')}`;

  const connect = (ca: Buffer | undefined): Promise<void> =>
    new Promise((resolve) => {
      const socket = new Socket(options.url, {
        headers: { authorization },
        ca,
        maxPayload: MAX_MESSAGE_BYTES,
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
        perMessageDeflate: false,
      });
      let alive = true;
      const pings = setInterval(() => {
        if (!alive) return socket.terminate();
        alive = false;
        // A call rather than a ping frame: btcd's library does not answer those.
        if (socket.readyState === Socket.OPEN) socket.send(request(3, 'getblockcount'));
        return undefined;
      }, PING_INTERVAL_MS);
      const end = (): void => socket.terminate();
      lifetime.signal.addEventListener('abort', end, { once: true });
      socket.on('open', () => {
        socket.send(request(1, 'notifyblocks'));
        socket.send(request(2, 'notifynewtransactions', [false]));
      });
      socket.on('message', (content: Buffer) => {
        alive = true;
        if (read(content, listener)) backoff.reset();
      });
      socket.on('error', (error) => logger.debug({ error: error.message }, 'the WebSocket of the node failed'));
      socket.on('close', () => {
        clearInterval(pings);
        lifetime.signal.removeEventListener('abort', end);
        listener.closed();
        resolve();
      });
    });

  const run = async (): Promise<void> => {
    while (!lifetime.signal.aborted) {
      const ca = await options.readCa().catch(() => undefined);
      // Stopped while the file was read: an abort that is past would never end the new socket.
      if (lifetime.signal.aborted) return;
      await connect(ca);
      await delay(backoff.nextMs(), lifetime.signal);
    }
  };
  const running = run();
  return {
    async stop() {
      lifetime.abort(new HostError('CANCELLED', 'the node adapter stops'));
      await running;
    },
  };
}

function request(id: number, method: string, params: readonly unknown[] = []): string {
  return JSON.stringify({ jsonrpc: '1.0', id, method, params });
}

/** Reads one message; true when it is the answer to the second subscription, so that both stand. */
function read(content: Buffer, listener: WebsocketListener): boolean {
  let message: unknown;
  try {
    message = JSON.parse(content.toString('utf8'));
  } catch {
    return false;
  }
  if (typeof message !== 'object' || message === null) return false;
  const { id, method, params, error } = message as Record<string, unknown>;
  if (method === 'filteredblockconnected' || method === 'filteredblockdisconnected') listener.block();
  else if (method === 'blockconnected' || method === 'blockdisconnected') listener.block();
  else if (method === 'txaccepted' && Array.isArray(params)) {
    const txid = hashFromDisplay(String(params[0]));
    if (txid !== undefined) listener.transaction(txid);
  } else if (id === 2 && (error === null || error === undefined)) {
    listener.open();
    return true;
  }
  return false;
}
