import { type ChildProcess, spawn } from 'node:child_process';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createContractRegistry } from '../../src/contract/descriptors.js';
import { METHODS } from '../ipc/rig.js';
import { createRandom, mutate, randomBytes, randomMessage } from './fuzz-messages.js';

/** Frames over all rpcs; the number. */
const FRAMES = Number(process.env.MODHOST_FUZZ_FRAMES ?? 100_000);
/** Raw HTTP/2 sequences; the number. */
const SEQUENCES = Number(process.env.MODHOST_FUZZ_SEQUENCES ?? 5_000);
const SEED = Number(process.env.MODHOST_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Calls under way at a time; below the session's own bound. */
const PARALLEL = 64;
/** Times that a frame is sent whose connection was closed under it. */
const MAX_ATTEMPTS = 5;
/** A call that has not ended by then is stuck. */
const STUCK_MS = 15_000;
/** Memory that a run may leave behind: the heap grows to a working size once, leaks grow with every frame. */
const RSS_SLACK_BYTES = 32 * 1024 * 1024;

interface FuzzHost {
  child: ChildProcess;
  sockets: { before: string; after: string; bystander: string };
  ask(question: string): Promise<Record<string, number>>;
}

async function startHost(): Promise<FuzzHost> {
  const script = fileURLToPath(new URL('./fuzz-host.ts', import.meta.url));
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines: Interface = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const answers: ((line: string) => void)[] = [];
  lines.on('line', (line) => answers.shift()?.(line));
  const next = (): Promise<string> =>
    new Promise((resolve, reject) => {
      answers.push(resolve);
      child.once('exit', (code, signal) => reject(new Error(`the host ended: ${code} ${signal}`)));
    });
  const sockets = JSON.parse(await next()) as FuzzHost['sockets'];
  return {
    child,
    sockets,
    async ask(question) {
      const answer = next();
      child.stdin?.write(`${question}\n`);
      return JSON.parse(await answer) as Record<string, number>;
    },
  };
}

/** One gRPC frame on a new HTTP/2 stream; answers the reason, or how the stream ended. */
function sendFrame(session: ClientHttp2Session, path: string, body: Buffer): Promise<string> {
  return new Promise((resolve) => {
    let answer = 'no answer';
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const stuck = setTimeout(() => {
      resolve('STUCK');
      stream.close(constants.NGHTTP2_CANCEL);
    }, STUCK_MS);
    const take = (headers: Record<string, unknown>): void => {
      if (headers['grpc-status'] === undefined) return;
      answer =
        headers['grpc-status'] === '0' ? 'OK' : String(headers['modhost-reason'] ?? `code ${headers['grpc-status']}`);
    };
    stream.on('response', take);
    stream.on('trailers', take);
    stream.on('data', () => {
      answer = 'OK';
    });
    stream.on('error', () => {});
    stream.on('close', () => {
      clearTimeout(stuck);
      resolve(answer);
    });
    stream.end(body);
    // watching rpcs stand until something happens: they are served once they have not refused. Few of them are reset:
    // the server's HTTP/2 ends a connection that resets thousands of streams, and that is another test
    setTimeout(() => {
      if (stream.destroyed) return;
      answer = 'served';
      stream.close(constants.NGHTTP2_CANCEL);
    }, 1_000).unref();
  });
}

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([head, message]);
}

function openSession(socketPath: string): Promise<ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = connectHttp2('http://localhost', { createConnection: () => connect(socketPath) });
    session.on('error', () => {});
    session.once('connect', () => resolve(session));
    session.once('close', () => reject(new Error('the session closed')));
  });
}

/** One connection that all workers share, opened anew when it is gone. */
function createLink(socketPath: string): { open(): Promise<ClientHttp2Session> } {
  let present: Promise<ClientHttp2Session> | undefined;
  return {
    async open() {
      for (;;) {
        present ??= openSession(socketPath);
        const mine = present;
        const session = await mine.catch(() => undefined);
        if (session !== undefined && !session.closed && !session.destroyed) return session;
        if (present === mine) present = undefined;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}

describe('R1 containment', () => {
  const registry = createContractRegistry();
  let host: FuzzHost;
  beforeAll(async () => {
    process.stdout.write(
      `fuzz seed ${SEED} (MODHOST_FUZZ_SEED), ${FRAMES} frames, ${SEQUENCES} sequences; call quota raised\n`,
    );
    host = await startHost();
    // an external module without any connection counts as gone; these two stay
    await openSession(host.sockets.after);
    await openSession(host.sockets.bystander);
  });
  afterAll(async () => {
    expect(host.child.exitCode, 'the host lives to the end').toBeNull();
    await host.ask('stop');
    host.child.kill('SIGKILL');
  });

  /** An honest module's call, which must go on working whatever the hostile one sends. */
  const assertBystander = async (): Promise<void> => {
    const session = await openSession(host.sockets.bystander);
    expect(await sendFrame(session, '/modhost.v1.ChainService/GetChainTip', frame(new Uint8Array()))).toBe('OK');
    session.destroy();
  };

  it(`${FRAMES} fuzzed frames over all rpcs, before and after the handshake`, async () => {
    const random = createRandom(SEED);
    const methods = [...METHODS.values()];
    const handshake = methods.filter(({ beforeHandshake }) => beforeHandshake);
    const answers = new Map<string, number>();
    const session = createLink(host.sockets.after);
    const waiting = createLink(host.sockets.before);
    const one = async (): Promise<void> => {
      // before the handshake only the handshake has a decoder; a few frames try the others
      const early = random() < 0.2;
      const pool = early && random() < 0.9 ? handshake : methods;
      const facts = pool[Math.floor(random() * pool.length)];
      if (facts === undefined) return;
      const type = registry.getMessage(facts.requestType);
      if (type === undefined) throw new Error(`no ${facts.requestType}`);
      const message = randomMessage(type, random);
      const body = frame(random() < 0.5 ? mutate(message, random) : message);
      // three wrong tokens close all connections of a spawn, and frames under way with them; those are sent again
      let answer = 'no answer';
      for (let attempt = 0; attempt < MAX_ATTEMPTS && answer === 'no answer'; attempt++) {
        answer = await sendFrame(await (early ? waiting : session).open(), facts.path, body);
      }
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    };
    // one part warms up, so that memory is compared between two working hosts
    const warm = Math.floor(FRAMES / 4);
    let started = 0;
    const run = async (upTo: number): Promise<void> => {
      const worker = async (): Promise<void> => {
        while (started < upTo) {
          started += 1;
          await one();
        }
      };
      await Promise.all(Array.from({ length: PARALLEL }, worker));
    };
    await run(warm);
    const rssBefore = (await host.ask('rss')).rss ?? 0;
    await run(FRAMES);
    (await session.open()).destroy();
    (await waiting.open()).destroy();
    await assertBystander();
    const rssAfter = (await host.ask('rss')).rss ?? 0;
    const refused = [
      'HANDSHAKE_REQUIRED',
      'MISSING_PERMISSION',
      'RATE_LIMITED',
      'TOO_MANY_CALLS',
      'no answer',
      'STUCK',
    ];
    const early = refused.reduce((sum, reason) => sum + (answers.get(reason) ?? 0), 0);
    process.stdout.write(`answers: ${JSON.stringify(Object.fromEntries([...answers].sort((a, b) => b[1] - a[1])))}\n`);
    process.stdout.write(`rss ${(rssBefore / 2 ** 20).toFixed(0)} -> ${(rssAfter / 2 ** 20).toFixed(0)} MiB\n`);
    expect(answers.get('STUCK') ?? 0).toBe(0);
    expect(answers.get('INTERNAL') ?? 0, 'no handler fails in a way that was not foreseen').toBe(0);
    expect(1 - early / FRAMES, 'share that reached a decoder or handler').toBeGreaterThanOrEqual(0.9);
    expect(rssAfter - rssBefore).toBeLessThan(RSS_SLACK_BYTES);
  }, 900_000);

  it(`C065 C066 C068 C069 C079 C080 ${SEQUENCES} raw HTTP/2 sequences`, async () => {
    const random = createRandom(SEED + 1);
    const rssBefore = (await host.ask('rss')).rss ?? 0;
    for (let done = 0; done < SEQUENCES; ) {
      // the module's socket takes four connections, and one of them stays open
      const batch = Math.min(3, SEQUENCES - done);
      await Promise.all(Array.from({ length: batch }, () => rawSequence(host.sockets.after, random)));
      done += batch;
    }
    await assertBystander();
    const rssAfter = (await host.ask('rss')).rss ?? 0;
    process.stdout.write(`rss ${(rssBefore / 2 ** 20).toFixed(0)} -> ${(rssAfter / 2 ** 20).toFixed(0)} MiB\n`);
    expect(rssAfter - rssBefore).toBeLessThan(RSS_SLACK_BYTES);
  }, 600_000);
});

/** One connection with frames of HTTP/2 in an order and of a form that no client would choose. */
function rawSequence(socketPath: string, random: () => number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const timer = setTimeout(() => socket.destroy(), 2_000);
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.resume();
    if (random() < 0.9) socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    if (random() < 0.9) socket.write(http2Frame(4, 0, 0, Buffer.alloc(0)));
    const count = 1 + Math.floor(random() * 40);
    for (let i = 0; i < count; i++) socket.write(randomFrame(random));
    // not half-closed: some peers just go
    setTimeout(() => socket.destroy(), Math.floor(random() * 20));
  });
}

const HEADERS = Buffer.from([
  0x83, 0x86, 0x41, 0x8a, 0xa0, 0xe4, 0x1d, 0x13, 0x9d, 0x09, 0xb8, 0xf0, 0x1e, 0x07, 0x44, 0x01, 0x2f,
]);

function randomFrame(random: () => number): Buffer {
  const stream = Math.floor(random() * 8) * 2 + 1;
  switch (Math.floor(random() * 10)) {
    case 0:
      return http2Frame(1, random() < 0.5 ? 5 : 4, stream, HEADERS);
    case 1:
      return http2Frame(0, Math.floor(random() * 2), stream, randomBytes(random, Math.floor(random() * 300)));
    case 2:
      return http2Frame(3, 0, stream, Buffer.from([0, 0, 0, 8]));
    case 3:
      return http2Frame(4, 0, 0, randomBytes(random, 6 * Math.floor(random() * 10)));
    case 4:
      return http2Frame(6, 0, 0, randomBytes(random, 8));
    case 5:
      return http2Frame(8, 0, random() < 0.5 ? 0 : stream, Buffer.from([0x7f, 0xff, 0xff, 0xff]));
    case 6:
      return http2Frame(9, 0, stream, randomBytes(random, Math.floor(random() * 100)));
    case 7:
      return Buffer.concat([http2Frame(1, 5, stream, HEADERS), http2Frame(3, 0, stream, Buffer.from([0, 0, 0, 8]))]);
    case 8:
      return http2Frame(Math.floor(random() * 256), Math.floor(random() * 256), stream, randomBytes(random, 20));
    default:
      return randomBytes(random, 1 + Math.floor(random() * 64));
  }
}

function http2Frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
