/**
 * This is a double of Bitcoin Core, not Bitcoin Core. Its binary cannot be had from a package registry, so the tests
 * that every clone must be able to run speak with this instead: Core's JSON-RPC dialect, REST interface, cookie file
 * and ZMQ frames over a devchain, whose blocks Core's own engine accepts. What it says of itself is modelled on
 * Bitcoin Core 29; an error code or text is Core's own, by its sources and documentation. The adapter is also tried
 * against real nodes: btcd here, bitcoind wherever an operator has one.
 *
 * Faults come on demand, because a real node shows them at the worst moment only.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../../src/core/bytes.js';
import type { NodeApi, NodeEvent } from '../../src/node/node-api.js';
import { type BlockIndex, createBlockIndex } from './bitcoind-double/block-index.js';
import { type CallContext, type DoubleSettings, type Method, RPC_CODE, RpcError } from './bitcoind-double/call.js';
import { chainMethods } from './bitcoind-double/chain-methods.js';
import { mempoolMethods } from './bitcoind-double/mempool-methods.js';
import { miningMethods } from './bitcoind-double/mining-methods.js';
import { networkMethods } from './bitcoind-double/network-methods.js';
import { createPublisher, ZMQ_TOPICS, type ZmqTopic } from './bitcoind-double/publisher.js';
import { answerRest } from './bitcoind-double/rest.js';
import { createRpcServer, type ServerFaults } from './bitcoind-double/server.js';
import { freePort } from './free-port.js';

/** How a double is set up. */
export interface BitcoindDoubleOptions {
  /** The chain behind it, not started; the double starts and stops it. */
  chain: NodeApi;
  /** Existing directory; the cookie goes where a regtest bitcoind puts it, below `regtest`. */
  dataDir: string;
  /** Topics published; none = a node without ZMQ. Default: `sequence`. */
  zmqTopics?: readonly ZmqTopic[];
  /** REST interface, default off as in Core. */
  rest?: boolean;
  /** Transaction index, default off as in Core. */
  txindex?: boolean;
  /** An RPC user beside the cookie. */
  user?: { name: string; password: string };
}

/** The double and the hands on it. */
export interface BitcoindDouble {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly cookieFile: string;
  readonly dataDir: string;
  /** Address of the publisher, with or without topics on it. */
  readonly zmqAddress: string;
  /** What an operator would set in bitcoin.conf, and phases that a node goes through; takes effect at once. */
  readonly settings: DoubleSettings;
  /** How often each method was called. */
  readonly calls: ReadonlyMap<string, number>;
  /** Closes its ports and removes the cookie; the chain lives on. Idempotent. */
  stop(): Promise<void>;
  /** Opens the same ports with a new cookie and ZMQ counters from 0. */
  start(): Promise<void>;
  /** Ends everything, the chain too. */
  dispose(): Promise<void>;
  /** Answers -28 to everything until the returned function is called. */
  warmUp(message?: string): () => void;
  /** Refuses the next `count` requests with 503. */
  refuse(count: number): void;
  /** Resets the next `count` connections. */
  reset(count: number): void;
  /** Delays every answer by so many milliseconds; 0 = no longer. */
  slow(ms: number): void;
  /** Holds every answer back until the returned function is called. */
  stall(): () => void;
  /** Counts but never sends the next `count` ZMQ messages. */
  loseFrames(count: number): void;
  /** Resolves when every frame told so far was handed to ZMQ. */
  flushed(): Promise<void>;
}

const WARM_UP_WORDS = 'Loading block index…';
const METHODS: Readonly<Record<string, Method>> = {
  ...chainMethods,
  ...mempoolMethods,
  ...miningMethods,
  ...networkMethods,
};

/** Starts the chain and a double in front of it. */
export async function startBitcoindDouble(options: BitcoindDoubleOptions): Promise<BitcoindDouble> {
  const { chain, dataDir, zmqTopics = ['sequence'], user } = options;
  const port = await freePort();
  const zmqAddress = `tcp://127.0.0.1:${await freePort()}`;
  const cookieFile = join(dataDir, 'regtest', '.cookie');
  const settings: DoubleSettings = {
    txindex: options.txindex ?? false,
    rest: options.rest ?? false,
    prunedBelow: 0,
    initialBlockDownload: false,
  };
  const faults: ServerFaults = { busy: 0, resets: 0, slowMs: 0, warmUp: undefined, gate: undefined };
  const calls = new Map<string, number>();
  const banned = new Set<string>();
  const changes = createChanges();
  const publisher = createPublisher(zmqAddress, zmqTopics, chain);
  const index: BlockIndex = createBlockIndex(chain);
  let mempoolSequence = 1n;
  let cookie = '';
  let running = false;
  let startedUnixMs = 0;

  const hear = (event: NodeEvent): void => {
    if (event.type === 'TransactionAdded' || event.type === 'TransactionRemoved') {
      if (running) publisher.tell(event, mempoolSequence);
      mempoolSequence += 1n;
      changes.tell('mempool');
    } else if (event.type === 'BlockConnected' || event.type === 'BlockDisconnected') {
      if (running) publisher.tell(event, mempoolSequence);
      changes.tell('tip');
    }
  };

  const server = createRpcServer({
    methods: METHODS,
    faults,
    credentials: () => (user === undefined ? [cookie] : [cookie, `${user.name}:${user.password}`]),
    seen: (method) => calls.set(method, (calls.get(method) ?? 0) + 1),
    rest: async (path, context) => {
      if (faults.warmUp !== undefined) {
        return { status: 503, type: 'text/plain', body: `Service temporarily unavailable: ${faults.warmUp}\r\n` };
      }
      return await answerRest(path, context);
    },
    context: (signal): CallContext => ({
      node: chain,
      index,
      settings,
      signal,
      mempoolSequence: () => mempoolSequence,
      awaitChange: async (of, timeoutMs) => await changes.next(of, timeoutMs, signal),
      zmqTopics,
      zmqAddress,
      startedUnixMs,
      banned,
    }),
  });

  const start = async (): Promise<void> => {
    if (running) return;
    cookie = `__cookie__:${toHex(randomBytes(32))}`;
    await mkdir(join(dataDir, 'regtest'), { recursive: true });
    await writeFile(cookieFile, cookie, { mode: 0o600 });
    if (zmqTopics.length > 0) await publisher.start();
    await server.listen(port);
    startedUnixMs = Date.now();
    running = true;
  };

  const stop = async (): Promise<void> => {
    if (!running) return;
    running = false;
    await server.close();
    await publisher.stop();
    await rm(cookieFile, { force: true });
  };

  await chain.start(hear, AbortSignal.timeout(60_000));
  await start();
  return {
    url: `http://127.0.0.1:${port}`,
    host: '127.0.0.1',
    port,
    cookieFile,
    dataDir,
    zmqAddress,
    settings,
    calls,
    start,
    stop,
    dispose: async () => {
      await stop();
      await chain.stop();
    },
    warmUp: (message = WARM_UP_WORDS) => {
      faults.warmUp = message;
      return () => {
        faults.warmUp = undefined;
      };
    },
    refuse: (count) => {
      faults.busy += count;
    },
    reset: (count) => {
      faults.resets += count;
    },
    slow: (ms) => {
      faults.slowMs = ms;
    },
    stall: () => {
      let open = (): void => {};
      faults.gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      return () => {
        faults.gate = undefined;
        open();
      };
    },
    loseFrames: (count) => publisher.loseFrames(count),
    flushed: async () => await publisher.flushed(),
  };
}

type Change = 'tip' | 'mempool';

/** Lets calls wait for the next change, as `waitfornewblock` and long polls do. */
function createChanges(): {
  tell(change: Change): void;
  next(of: 'tip' | 'tip-or-mempool', timeoutMs: number, signal: AbortSignal): Promise<void>;
} {
  const waiting = new Set<(change: Change) => void>();
  return {
    tell: (change) => {
      for (const wake of [...waiting]) wake(change);
    },
    next: async (of, timeoutMs, signal) =>
      await new Promise<void>((resolve, reject) => {
        const end = (): void => {
          waiting.delete(wake);
          clearTimeout(timer);
          signal.removeEventListener('abort', gone);
        };
        const wake = (change: Change): void => {
          if (change === 'mempool' && of === 'tip') return;
          end();
          resolve();
        };
        const gone = (): void => {
          end();
          reject(new RpcError(RPC_CODE.misc, 'Shutting down'));
        };
        const timer = timeoutMs > 0 ? setTimeout(() => wake('tip'), timeoutMs) : undefined;
        if (signal.aborted) return gone();
        signal.addEventListener('abort', gone);
        waiting.add(wake);
      }),
  };
}

export { ZMQ_TOPICS, type ZmqTopic };
