import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ClientWritableStream } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  FilesystemServiceClient,
  type ReadFileResponse,
  type WriteFileRequest,
  type WriteFileResponse,
} from '../../../gen/ts/modhost/v1/filesystem.js';
import { openExternal, VERSION, writeExternalModule } from '../../host/external-module.js';
import { cleanUp, client } from '../../host/host-rig.js';
import { until } from '../../host/spawned-host.js';
import { reasonOf, unary } from '../../ipc/rig.js';
import { headerOf, MIB, piece } from './rig.js';

/** What streams through the host in each direction, MiB. */
const STREAMED = 200;
/** What the host's memory may grow by while nobody reads: a few pieces, the transport's buffers, noise of the allocator. */
const STALLED_SLACK = 48 * MIB;

interface Memory {
  rss: number;
  peak: number;
}

/** The host's process, and the module's client of it. */
interface Running {
  files: FilesystemServiceClient;
  memory(): Promise<Memory>;
  kill(): Promise<void>;
}

let dir: string;
let host: Running;
const children: ChildProcess[] = [];
const inData = (...parts: string[]): string => join(dir, 'd', 'modules', 'probe', ...parts);
const staged = (): string[] => readdirSync(join(dir, 'd', 'files', 'probe', 'staging'));

async function start(): Promise<Running> {
  const program = join(import.meta.dirname, 'host-program.ts');
  const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', program, dir], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const spawnDir = join(dir, 's', 'x-probe');
  const socketPath = join(spawnDir, 'host.sock');
  await openExternal(socketPath, readFileSync(join(spawnDir, 'token')), 'probe', VERSION);
  return {
    files: client(FilesystemServiceClient, socketPath),
    async memory() {
      child.stdin.write('memory\n');
      return JSON.parse((await lines.next()).value as string) as Memory;
    },
    async kill() {
      const over = once(child, 'exit');
      child.kill('SIGKILL');
      await over;
    },
  };
}

/** Begins a write; its messages wait for the transport. */
function begin(files: FilesystemServiceClient): {
  stream: ClientWritableStream<WriteFileRequest>;
  answer: Promise<WriteFileResponse>;
  send(message: WriteFileRequest): Promise<unknown>;
} {
  let settle: (error: Error | null, value?: WriteFileResponse) => void = () => {};
  const answer = new Promise<WriteFileResponse>((resolve, reject) => {
    settle = (error, value) => (error === null && value !== undefined ? resolve(value) : reject(error as Error));
  });
  answer.catch(() => {});
  const stream = files.writeFile((error, value) => settle(error, value));
  return {
    stream,
    answer,
    // of a stream that has failed nobody tells that a message was written
    send: (message) => Promise.race([new Promise<void>((resolve) => stream.write(message, () => resolve())), answer]),
  };
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mhw-'));
  chmodSync(dir, 0o711);
  writeExternalModule(join(dir, 'm'), 'probe', ['read_filesystem', 'write_filesystem', 'manage_filesystem']);
  host = await start();
});
afterAll(async () => {
  await cleanUp();
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const over = once(child, 'exit');
    child.kill('SIGKILL');
    await over;
  }
  rmSync(dir, { recursive: true, force: true });
});

describe('a module and its host over the wire', () => {
  it(`streams ${STREAMED} MiB each way, and a reader that stands still costs the host nothing`, async () => {
    const { files, memory } = host;
    const idle = await memory();
    const content = Buffer.alloc(MIB);
    const sent = createHash('sha256');
    const began = performance.now();
    const { stream, answer, send } = begin(files);
    await send(headerOf('big', { sizeBytes: BigInt(STREAMED * MIB) }));
    for (let i = 0; i < STREAMED; i += 1) {
      content.fill(i);
      sent.update(content);
      await send(piece(Buffer.from(content)));
    }
    stream.end();
    expect((await answer).metadata).toMatchObject({ path: 'big', sizeBytes: BigInt(STREAMED * MIB) });
    const written = await memory();
    const writtenMs = performance.now() - began;
    const received = createHash('sha256');
    const reading = files.readFile({ path: 'big', offset: 0n, length: 0n });
    for await (const { content: bytes } of reading as AsyncIterable<ReadFileResponse>) received.update(bytes);
    const readMs = performance.now() - began - writtenMs;
    const read = await memory();
    expect(received.digest('hex')).toBe(sent.digest('hex'));

    const stalled = files.readFile({ path: 'big', offset: 0n, length: 0n });
    stalled.on('error', () => {});
    await once(stalled, 'metadata');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const waiting = await memory();
    stalled.cancel();
    const inMib = (bytes: number): number => Math.round(bytes / MIB);
    const rate = (ms: number): string => `${Math.round(STREAMED / (ms / 1_000))} MiB/s`;
    process.stdout.write(
      `over the wire: write ${rate(writtenMs)}, read ${rate(readMs)}; memory of the host, MiB: idle ${inMib(idle.rss)}, ` +
        `at most ${inMib(written.peak)} writing, ${inMib(read.peak)} reading, ${inMib(waiting.peak)} with a reader that waits\n`,
    );
    expect(waiting.peak - read.rss).toBeLessThan(STALLED_SLACK);
    expect(await reasonOf(unary((done) => files.deleteFile({ path: 'big' }, done as never)))).toBe('OK');
    expect(await reasonOf(unary((done) => files.getMetadata({ path: '../x' }, done as never)))).toBe('PATH_ESCAPE');
  });

  it('that breaks off a write leaves nothing', async () => {
    const { files } = host;
    const { stream, answer, send } = begin(files);
    await send(headerOf('f'));
    await send(piece(Buffer.alloc(MIB)));
    await until('the write to begin', () => staged().length === 1);
    stream.cancel();
    await expect(answer).rejects.toThrow();
    await until('the end of it', () => staged().length === 0);
    expect(existsSync(inData('f'))).toBe(false);
  });

  it('whose host is killed in the middle of a write finds nothing of it at the next start', async () => {
    const half = begin(host.files);
    await half.send(headerOf('f'));
    await half.send(piece(Buffer.alloc(MIB, 255)));
    await until('the write to begin', () => staged().length === 1);
    await host.kill();
    expect(staged()).toHaveLength(1);
    host = await start();
    expect(staged()).toEqual([]);
    expect(readdirSync(inData())).toEqual([]);
  });
});
