/** A small Stratum V1 miner on the processor: line-delimited JSON-RPC, jobs, shares; as much as a test needs. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** Highest target of mainnet, to which a difficulty of 1 belongs. */
const TARGET_OF_ONE = 0xffffn << 208n;
/** Precision with which a difficulty below 1 is taken, as a power of two. */
const FRACTION = 2 ** 60;
/** Nonces tried before the connection is looked at. */
const TRIES = 2_000;
/** Pause while there is nothing to mine, milliseconds. */
const IDLE_MS = 5;

/** How the miner works. */
export interface V1MinerOptions {
  port: number;
  /** Name under which it mines. */
  worker: string;
  /** Shares per second at most, so that a regtest chain does not run away. */
  sharesPerSecond: number;
}

/** A running miner. */
export interface V1Miner {
  /** Shares that the server took. */
  readonly accepted: number;
  /** What it said of the others. */
  readonly refused: readonly unknown[];
  /** Hashes of the headers it handed in, display order. */
  readonly hashes: readonly string[];
  /** Previous blocks it was told to build on, display order. */
  readonly tips: readonly string[];
  /** Rejects when the connection was lost. */
  readonly lost: Promise<never>;
  stop(): void;
}

/** What `mining.notify` says. */
interface Job {
  id: string;
  /** As the header holds it. */
  previousHash: Buffer;
  coinbaseHead: Buffer;
  coinbaseTail: Buffer;
  branch: Buffer[];
  version: number;
  bits: number;
  time: number;
}

/** Connects, subscribes, authorises and mines until it is stopped. */
export async function startV1Miner({ port, worker, sharesPerSecond }: V1MinerOptions): Promise<V1Miner> {
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  const wire = createWire(socket);
  const hashes: string[] = [];
  const tips: string[] = [];
  const refused: unknown[] = [];
  let [accepted, stopped, count] = [0, false, 0];
  let job: Job | undefined;
  let target = 0n;

  wire.on('mining.set_difficulty', ([difficulty]) => {
    target = targetOf(Number(difficulty));
  });
  wire.on('mining.notify', (params) => {
    job = readJob(params);
    const tip = Buffer.from(job.previousHash).reverse().toString('hex');
    if (tips.at(-1) !== tip) tips.push(tip);
  });
  const [, head, tailSize] = (await wire.ask('mining.subscribe', ['v1-miner'])) as [unknown, string, number];
  const extranonce1 = Buffer.from(head, 'hex');
  if ((await wire.ask('mining.authorize', [worker, 'x'])) !== true) throw new Error('the server knows no such worker');

  const mine = async (): Promise<void> => {
    let due = 0;
    while (!stopped) {
      const [now, work] = [performance.now(), job];
      if (work === undefined || target === 0n || now < due) {
        await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
        continue;
      }
      count += 1;
      const extranonce2 = Buffer.alloc(tailSize);
      extranonce2.writeUIntBE(count, Math.max(0, tailSize - 4), Math.min(4, tailSize));
      const found = grind(work, Buffer.concat([extranonce1, extranonce2]), target);
      await new Promise((resolve) => setImmediate(resolve));
      if (found === undefined || stopped) continue;
      due = now + 1_000 / sharesPerSecond;
      hashes.push(found.hash);
      const share = [worker, work.id, extranonce2.toString('hex'), hex32(work.time), hex32(found.nonce)];
      wire.ask('mining.submit', share).then(
        (verdict) => {
          if (verdict === true) accepted += 1;
          else refused.push(verdict);
        },
        (error: unknown) => void (stopped || refused.push(error)),
      );
    }
  };
  const lost = Promise.race([wire.lost, mine().then(() => wire.lost)]);
  // Whoever does not look at it must not be ended by it.
  lost.catch(() => undefined);
  return {
    get accepted() {
      return accepted;
    },
    ...{ refused, hashes, tips, lost },
    stop() {
      stopped = true;
      socket.destroy();
    },
  };
}

/** JSON-RPC by lines: questions with their answers, and what the server says unasked. */
function createWire(socket: Socket) {
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: unknown): void }>();
  const listeners = new Map<string, (params: unknown[]) => void>();
  let next = 1;
  const lost = new Promise<never>((_, reject) => {
    socket.once('close', () => {
      const error = new Error('the server closed the connection');
      for (const { reject: give } of waiting.values()) give(error);
      reject(error);
    });
  });
  lost.catch(() => undefined);
  socket.on('error', () => undefined);
  createInterface({ input: socket }).on('line', (line) => {
    const message = JSON.parse(line) as {
      id?: number;
      method?: string;
      params?: unknown[];
      result?: unknown;
      error?: unknown;
    };
    if (message.method !== undefined) {
      listeners.get(message.method)?.(message.params ?? []);
      return;
    }
    const question = waiting.get(Number(message.id));
    waiting.delete(Number(message.id));
    if (message.error !== null && message.error !== undefined) question?.reject(message.error);
    else question?.resolve(message.result);
  });
  return {
    lost,
    on: (method: string, listener: (params: unknown[]) => void) => void listeners.set(method, listener),
    ask(method: string, params: unknown[]): Promise<unknown> {
      const id = next++;
      socket.write(`${JSON.stringify({ id, method, params })}\n`);
      return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
    },
  };
}

function readJob(params: unknown[]): Job {
  const [id, previous, head, tail, branch, version, bits, time] = params as [
    ...[string, string, string, string, string[], string, string, string],
  ];
  // Stratum V1 turns each word of four bytes around.
  const previousHash = Buffer.from(previous, 'hex').swap32();
  return {
    id,
    previousHash,
    coinbaseHead: Buffer.from(head, 'hex'),
    coinbaseTail: Buffer.from(tail, 'hex'),
    branch: branch.map((hash) => Buffer.from(hash, 'hex')),
    version: Number.parseInt(version, 16),
    bits: Number.parseInt(bits, 16),
    time: Number.parseInt(time, 16),
  };
}

function grind(job: Job, extranonce: Buffer, target: bigint): { nonce: number; hash: string } | undefined {
  const coinbase = Buffer.concat([job.coinbaseHead, extranonce, job.coinbaseTail]);
  const root = job.branch.reduce((left, right) => sha256d(Buffer.concat([left, right])), sha256d(coinbase));
  const header = Buffer.alloc(80);
  header.writeUInt32LE(job.version >>> 0, 0);
  job.previousHash.copy(header, 4);
  root.copy(header, 36);
  header.writeUInt32LE(job.time, 68);
  header.writeUInt32LE(job.bits, 72);
  for (let nonce = 0; nonce < TRIES; nonce += 1) {
    header.writeUInt32LE(nonce, 76);
    const hash = sha256d(header).reverse().toString('hex');
    if (BigInt(`0x${hash}`) <= target) return { nonce, hash };
  }
  return undefined;
}

/** Target of a difficulty, a hair below what it says: two roundings of one number must not make a share too easy. */
function targetOf(difficulty: number): bigint {
  const scaled = BigInt(Math.ceil(difficulty * FRACTION * 1.001));
  return scaled === 0n ? TARGET_OF_ONE << 31n : (TARGET_OF_ONE * BigInt(FRACTION)) / scaled;
}

function sha256d(bytes: Buffer): Buffer {
  return createHash('sha256').update(createHash('sha256').update(bytes).digest()).digest();
}

function hex32(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}
