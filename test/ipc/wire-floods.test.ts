import { type ChildProcess, spawn } from 'node:child_process';
import type { ClientHttp2Session } from 'node:http2';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MAX_WRITES_IN_FLIGHT } from '../../src/ipc/adapt.js';
import { MAX_CONCURRENT_STREAMS, MAX_MESSAGE_BYTES } from '../../src/ipc/server.js';
import type { FloodState } from './flood-host.js';
import {
  CONTINUATION,
  callHeaders,
  DATA,
  END_HEADERS,
  END_STREAM,
  GOAWAY,
  grpcFrame,
  HEADERS,
  headerBlock,
  http2Frame,
  openRaw,
  openSession,
  PING,
  type RawLink,
  RST_STREAM,
  SETTINGS,
  sendCall,
  WINDOW_UPDATE,
} from './raw-http2.js';

const TIP = '/modhost.v1.ChainService/GetChainTip';
const BLOCK = '/modhost.v1.ChainService/GetBlock';
const STREAM = '/modhost.v1.ChainService/StreamBlocks';
const STANDING = '/modhost.v1.ChainService/GetBlockHeader';
const REPORT = '/modhost.v1.MetricsService/Report';
const EMPTY = grpcFrame(new Uint8Array());
const MIB = 2 ** 20;
/** What a flood may leave behind: a working heap grows once, and allocators keep pages; leaks are larger. */
const LEFT_BEHIND_BYTES = 96 * MIB;
/** RST_STREAM code CANCEL, and a window update of the largest increment. */
const CANCEL = Buffer.of(0, 0, 0, 8);
const LARGEST = Buffer.of(0x7f, 0xff, 0xff, 0xff);
/** SETTINGS_INITIAL_WINDOW_SIZE = 0. */
const NO_WINDOW = Buffer.of(0, 4, 0, 0, 0, 0);

let child: ChildProcess;
let paths: { victim: string; neighbour: string };
let bystander: ClientHttp2Session;
const answers: ((line: string) => void)[] = [];
const nextLine = (): Promise<string> =>
  new Promise((resolve, reject) => {
    answers.push(resolve);
    child.once('exit', (code, signal) => reject(new Error(`the host ended: ${code} ${signal}`)));
  });
const ask = async (question: 'now' | 'settled'): Promise<FloodState> => {
  const line = nextLine();
  child.stdin?.write(`${question}\n`);
  return JSON.parse(await line) as FloodState;
};

beforeAll(async () => {
  const script = fileURLToPath(new URL('./flood-host.ts', import.meta.url));
  child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.setMaxListeners(0);
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => answers.shift()?.(line));
  paths = JSON.parse(await nextLine()) as typeof paths;
  bystander = openSession(paths.neighbour);
});
afterAll(() => {
  bystander.destroy();
  child.kill('SIGKILL');
});

let before: FloodState;
/** Runs a flood while the neighbour calls, then waits until nothing of it is left. */
async function survive(flood: () => Promise<void>): Promise<void> {
  before = await ask('settled');
  let done = false;
  const neighbour = (async () => {
    let calls = 0;
    do {
      expect((await sendCall(bystander, TIP, EMPTY)).reason).toBe('OK');
      calls += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
    } while (!done);
    return calls;
  })();
  try {
    await flood();
  } finally {
    done = true;
    for (const link of links.splice(0)) link.socket.destroy();
  }
  const calls = await neighbour;
  const { stoodMs } = await ask('now');
  await expect.poll(async () => (await ask('now')).connections, { timeout: 20_000 }).toBe(before.connections);
  await expect.poll(async () => (await ask('now')).running, { timeout: 10_000 }).toBe(before.running);
  await expect
    .poll(async () => (await ask('settled')).sessions, { timeout: 10_000 })
    .toBeLessThanOrEqual(before.sessions);
  await expect
    .poll(async () => (await ask('settled')).rssBytes - before.rssBytes, { timeout: 20_000 })
    .toBeLessThan(LEFT_BEHIND_BYTES);
  const after = await ask('settled');
  const grown = Math.round((after.rssBytes - before.rssBytes) / MIB);
  process.stdout.write(
    `${expect.getState().currentTestName}: loop stood ${stoodMs.toFixed(0)} ms at most, ${grown} MiB left, ` +
      `${calls} calls of the neighbour\n`,
  );
}

const links: RawLink[] = [];
const raw = async (settings?: Uint8Array): Promise<RawLink> => {
  const link = await openRaw(paths.victim, settings);
  links.push(link);
  return link;
};
const open = (path: string, stream: number, flags = END_HEADERS): Buffer =>
  http2Frame(HEADERS, flags, stream, headerBlock(callHeaders(path)));
const call = (path: string, stream: number): Buffer =>
  Buffer.concat([open(path, stream), http2Frame(DATA, END_STREAM, stream, EMPTY)]);
/** Sends the same bytes many times, in large writes; ends early when the connection is gone. */
async function pour(link: RawLink, bytes: Uint8Array, times: number): Promise<void> {
  const perWrite = Math.max(1, Math.floor((256 * 1024) / bytes.length));
  const block = Buffer.concat(new Array<Uint8Array>(perWrite).fill(bytes));
  const wait = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 5_000).unref());
  for (let sent = 0; sent < times; sent += perWrite) {
    // a peer that floods without reading may find its own writes stuck
    if (!(await Promise.race([link.send(block), wait]))) return;
  }
}
const settle = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const hasEnded = (link: RawLink): boolean =>
  link.socket.destroyed || link.socket.readableEnded || link.frames.some(({ type }) => type === GOAWAY);

afterEach(async () => {
  // the flooded module itself is served again
  const session = openSession(paths.victim);
  expect((await sendCall(session, TIP, EMPTY)).reason).toBe('OK');
  session.destroy();
});

describe('floods on one connection', () => {
  it.each([
    ['SETTINGS', http2Frame(SETTINGS, 0, 0, Buffer.of(0, 3, 0, 0, 0, 100))],
    ['PING', http2Frame(PING, 0, 0, Buffer.alloc(8))],
  ])('C066 100,000 %s frames, none of whose answers is read', async (_what, frame) => {
    await survive(async () => {
      const link = await raw();
      link.socket.pause();
      await pour(link, frame, 100_000);
    });
  });

  it('C079 rapid reset, 100,000 streams, the connection left open by its caller', async () => {
    await survive(async () => {
      const link = await raw();
      for (let stream = 1; stream < 200_000 && !hasEnded(link); stream += 2_000) {
        const frames: Buffer[] = [];
        for (let id = stream; id < stream + 2_000; id += 2) {
          frames.push(call(TIP, id), http2Frame(RST_STREAM, 0, id, CANCEL));
        }
        if (!(await Promise.race([link.send(Buffer.concat(frames)), settle(2_000)]))) break;
      }
      await expect.poll(() => hasEnded(link), { timeout: 10_000 }).toBe(true);
      await expect.poll(async () => (await ask('now')).connections, { timeout: 20_000 }).toBe(before.connections);
    });
  });

  it('C079 CONTINUATION without end', async () => {
    await survive(async () => {
      const link = await raw();
      await link.send(open(TIP, 1, 0));
      await pour(link, http2Frame(CONTINUATION, 0, 1, headerBlock([['x-more', 'v'.repeat(4_000)]])), 10_000);
      await expect.poll(() => hasEnded(link)).toBe(true);
    });
  });

  it('C079 WINDOW_UPDATE beyond 2^31 - 1 on stream 0, the connection left open by its caller', async () => {
    await survive(async () => {
      for (let i = 0; i < 50; i++) {
        const link = await raw();
        await link.send(Buffer.concat([call(STANDING, 1), http2Frame(WINDOW_UPDATE, 0, 0, LARGEST)]));
        await expect.poll(() => hasEnded(link)).toBe(true);
        // not closed from this side: the host must let go of it by itself
        await expect.poll(async () => (await ask('now')).connections).toBe(before.connections);
      }
    });
  });

  it('C079 a window of 0 held over streams and blocks', async () => {
    await survive(async () => {
      const link = await raw(NO_WINDOW);
      const { yielded } = await ask('now');
      const streams = MAX_CONCURRENT_STREAMS / 2;
      for (let i = 0; i < streams; i++) await link.send(call(STREAM, 1 + 4 * i));
      for (let i = 0; i < streams; i++) await link.send(call(BLOCK, 3 + 4 * i));
      await settle(1_000);
      const held = await ask('settled');
      // MAX_WRITES_IN_FLIGHT of 64 KiB for every stream; blocks by the memory that one HTTP/2 session may have
      expect(held.running - before.running).toBeGreaterThanOrEqual(streams);
      expect(held.yielded - yielded).toBeLessThanOrEqual(streams * (MAX_WRITES_IN_FLIGHT + 1));
      process.stdout.write(`held: ${Math.round((held.rssBytes - before.rssBytes) / MIB)} MiB\n`);
    });
  });

  it('C080 20,000 streams without end: no more than 100 are open', async () => {
    await survive(async () => {
      const link = await raw();
      for (let stream = 1; stream < 40_000 && !hasEnded(link); stream += 200) {
        const frames: Buffer[] = [];
        for (let id = stream; id < stream + 200; id += 2) {
          frames.push(open(STANDING, id), http2Frame(DATA, 0, id, EMPTY));
        }
        if (!(await link.send(Buffer.concat(frames)))) break;
      }
      await settle(300);
      const held = await ask('settled');
      expect(held.rssBytes - before.rssBytes).toBeLessThan(LEFT_BEHIND_BYTES);
      // REFUSED_STREAM = 7
      const refused = link.frames.filter(({ type, payload }) => type === RST_STREAM && payload[3] === 7);
      expect(refused.length > 0 || hasEnded(link)).toBe(true);
    });
  });

  it('C080 the 101st handler does not begin', async () => {
    await survive(async () => {
      const link = await raw();
      const { begun } = await ask('now');
      for (let id = 1; id < 300; id += 2) await link.send(call(STANDING, id));
      await settle(500);
      expect((await ask('now')).begun - begun).toBe(MAX_CONCURRENT_STREAMS);
    });
  });
});

describe('large messages', () => {
  it('C067 a gzip bomb: 256 MiB in less than 4 MiB', async () => {
    await survive(async () => {
      const bomb = gzipSync(Buffer.alloc(256 * MIB), { level: 9 });
      expect(bomb.length).toBeLessThan(MAX_MESSAGE_BYTES);
      const session = openSession(paths.victim);
      const end = await sendCall(session, REPORT, grpcFrame(bomb, 1), { 'grpc-encoding': 'gzip' });
      expect(end).toMatchObject({ grpcStatus: '8', reason: 'MESSAGE_TOO_LARGE' });
      session.destroy();
    });
  });

  it('C072 unknown fields, list entries and nesting, 20 of the largest messages of each', async () => {
    await survive(async () => {
      const session = openSession(paths.victim);
      const messages = [Buffer.of(0x78, 0x01), Buffer.of(0x0a, 0x00), Buffer.of(0x7b)].map((field) =>
        Buffer.alloc(MAX_MESSAGE_BYTES - 16, field),
      );
      for (let i = 0; i < 20; i++) {
        const ends = await Promise.all(messages.map((message) => sendCall(session, REPORT, grpcFrame(message))));
        const reasons = ends.map(({ reason }) => reason);
        expect(reasons).toEqual(['MESSAGE_TOO_LARGE', 'MESSAGE_TOO_LARGE', 'MALFORMED_MESSAGE']);
      }
      session.destroy();
    });
  });
});
