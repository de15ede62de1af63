// Two modules' servers in a process of their own, so that floods can be measured from outside: `victim` is flooded,
// `neighbour` must not notice. Prints one JSON line with the sockets, then answers every line on stdin with its state.
import { performServerHandshake } from 'node:http2';
import { createInterface } from 'node:readline';
import { Duplex } from 'node:stream';
import { queryObjects } from 'node:v8';
import { ChainServiceService } from '../../gen/ts/modhost/v1/chain.js';
import { MetricsServiceService } from '../../gen/ts/modhost/v1/metrics.js';
import { Encoded } from '../../src/contract/service.js';
import { createRig } from './rig.js';

/** A raw block of the largest size. */
const BLOCK = new Encoded<never>(Buffer.alloc(4_000_000));
/** A message of a stream. */
const CHUNK = new Encoded<never>(Buffer.alloc(64 * 1024));
const DONE = new Encoded<never>(Buffer.alloc(0));

/** What the host process tells of itself. */
export interface FloodState {
  rssBytes: number;
  /** Connections on the victim's socket. */
  connections: number;
  /** Objects of HTTP/2 sessions that are still reachable in this process; 0 when not asked for `settled`. */
  sessions: number;
  /** Handlers that run on the victim's server. */
  running: number;
  /** Handlers that have begun there since the start. */
  begun: number;
  /** Messages that its streams have made. */
  yielded: number;
  /** Longest stand of the event loop since the last question, milliseconds. */
  stoodMs: number;
}

const counts = { running: 0, begun: 0, yielded: 0 };
const counted = async <T>(work: () => Promise<T>): Promise<T> => {
  counts.begun += 1;
  counts.running += 1;
  try {
    return await work();
  } finally {
    counts.running -= 1;
  }
};

const { getChainTip, getBlock, streamBlocks, getBlockHeader } = ChainServiceService;
const { report } = MetricsServiceService;
const make = () =>
  createRig({
    keepaliveMs: 5_000,
    permissions: ['READ_BLOCKCHAIN', 'READ_CHAIN_STATE', 'REPORT_METRICS'],
    services: [
      {
        definition: { getChainTip, getBlock, streamBlocks, getBlockHeader },
        impl: {
          // the neighbour's call, not counted
          getChainTip: async () => DONE,
          getBlock: () => counted(async () => BLOCK),
          // waits for its end, whichever it is
          getBlockHeader: (_request: unknown, { signal }: { signal: AbortSignal }) =>
            counted(() => new Promise((resolve) => signal.addEventListener('abort', () => resolve(DONE)))),
          async *streamBlocks() {
            counts.running += 1;
            try {
              for (;;) {
                counts.yielded += 1;
                yield CHUNK;
              }
            } finally {
              counts.running -= 1;
            }
          },
        },
      },
      { definition: { report }, impl: { report: () => counted(async () => DONE) } },
    ],
  });

// the class of server sessions has no name in Node's interface
const sample = performServerHandshake(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() }));
const ServerSession = sample.constructor as new () => unknown;
sample.destroy();

const victim = await make();
const neighbour = await make();
await victim.open();
await neighbour.open();

let stoodMs = 0;
let last = performance.now();
setInterval(() => {
  const now = performance.now();
  stoodMs = Math.max(stoodMs, now - last - 10);
  last = now;
}, 10);

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
say({ victim: victim.socketPath, neighbour: neighbour.socketPath });
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'stop') break;
  for (let i = 0; line === 'settled' && i < 3; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const sessions = line === 'settled' ? queryObjects(ServerSession, { format: 'count' }) : 0;
  const connections = victim.server.connectionCount();
  say({ rssBytes: process.memoryUsage.rss(), connections, sessions, ...counts, stoodMs } satisfies FloodState);
  stoodMs = 0;
}
await victim.dispose();
await neighbour.dispose();
process.exit(0);
