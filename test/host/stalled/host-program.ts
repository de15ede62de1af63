// A host in a process of its own whose node belongs to its embedder: the test decides what that node tells. Answers one JSON
// line for each word on standard input: `flood`, `clear`, `stats`, `stop`.
import { createInterface } from 'node:readline';
import type { NodeApi, NodeListener } from '../../../src/node/node-api.js';
import { createExternalHost } from '../external-host.js';

/** Transactions of distinct ids. */
const TRANSACTIONS = 100_000;
/** One block after as many transactions: 50 blocks fit the queue of chain events of a subscriber that stands still. */
const TRANSACTIONS_PER_BLOCK = 2_000;
/** Transactions that the node tells between two turns of the event loop: below a queue of 100 events. */
const BURST = 40;
/** Transactions that one block removes from the mempool at once. */
const CLEARED = 5_000;
/** Events between two looks at the accounts and at memory. */
const SAMPLE_EVERY = 5_000;

let listener: NodeListener = () => {};
const rig = await createExternalHost({
  modules: ['stalled', 'healthy', 'bystander'].map((name) => ({
    name,
    capabilities: ['subscribe_events', 'read_chain_state', 'read_mempool'],
  })),
  wrapNode: (node) =>
    Object.assign(Object.create(node) as NodeApi, {
      async start(to: NodeListener, signal: AbortSignal) {
        await node.start(() => {}, signal);
        listener = to;
      },
    }),
});
const { host } = rig;
const say = (value: object): void =>
  void process.stdout.write(
    `${JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? Number(item) : item))}\n`,
  );
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const txid = (n: number): Uint8Array => {
  const bytes = Buffer.alloc(32, 0x5a);
  bytes.writeUInt32BE(n);
  return bytes;
};
let height = 0;
const block = (): void => {
  height += 1;
  const header = Buffer.alloc(80);
  header.writeUInt32LE(0x207fffff, 72);
  const hash = Buffer.alloc(32, 0xb1);
  hash.writeUInt32BE(height);
  listener({ type: 'BlockConnected', hash, height, header, txCount: 1, sizeBytes: 200, weight: 800 });
};
const rss = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().rss;
};
/** Accounts that do not add up at this moment. */
const wrong = (): string[] =>
  host
    .getDeliveryStats()
    .flatMap(({ moduleId, queues }) =>
      queues
        .filter(
          ({ published, delivered, dropped, failed, queued }) => published !== delivered + dropped + failed + queued,
        )
        .map((queue) => `${moduleId} ${JSON.stringify(queue)}`),
    );
const waitingFor = (name: string): number =>
  host
    .getDeliveryStats()
    .filter(({ moduleId }) => moduleId === name)
    .reduce((sum, { queues }) => sum + queues.reduce((n, { queued }) => n + queued, 0), 0);

const words: Readonly<Record<string, () => Promise<object>>> = {
  async flood() {
    const samples: number[] = [];
    const faults: string[] = [];
    for (let n = 0; n < TRANSACTIONS; n++) {
      listener({ type: 'TransactionAdded', txid: txid(n), feeSats: 200n, vsize: 100, mempoolCount: n + 1 });
      if ((n + 1) % TRANSACTIONS_PER_BLOCK === 0) block();
      if ((n + 1) % SAMPLE_EVERY === 0) {
        samples.push(rss());
        faults.push(...wrong());
      }
      // the node tells as fast as one healthy subscriber reads; nobody waits for the one that stands still
      if ((n + 1) % BURST === 0) {
        do await turn();
        while (waitingFor('healthy') + waitingFor('bystander') > 0);
      }
    }
    return { samples, faults, delivery: host.getDeliveryStats() };
  },
  async clear() {
    // one turn of the event loop: no subscriber can read in between
    for (let n = 0; n < CLEARED; n++) {
      if (n === CLEARED / 2) block();
      listener({ type: 'TransactionRemoved', txid: txid(n), reason: 'confirmed', mempoolCount: CLEARED - n });
    }
    return { faults: wrong(), blocks: height };
  },
  stats: async () => ({ delivery: host.getDeliveryStats(), faults: wrong(), rss: rss() }),
  async stop() {
    await rig.dispose();
    return {};
  },
};

say({ dir: rig.dir });
for await (const line of createInterface({ input: process.stdin })) {
  say(await (words[line] ?? (async () => ({})))());
  if (line === 'stop') break;
}
process.stdin.destroy();
