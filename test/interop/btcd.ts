/**
 * A real btcd on regtest for the interop tests: built through its Go module, bound to loopback, with a data directory
 * of its own and real proof of work.
 *
 * btcd deletes its regtest database at every start. So that a restart is one, the launcher keeps the blocks of the
 * active chain and hands them in again behind a closed door: the public port is a forwarder of the launcher's, opened
 * when the node has its chain back.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { previousHashOf } from '../../src/core/bitcoin/header.js';
import { fromHex, hashToDisplay } from '../../src/core/bytes.js';
import { createForwarder } from './forwarder.js';
import { freePort } from './free-port.js';

/** Release under test: the first of the Go proxy's tagged ones that serves invalidateblock and reconsiderblock (tried). */
export const BTCD_VERSION = 'v0.26.2';

/** Longest build, milliseconds: a cold module cache on two cores took 75 s. */
const BUILD_TIMEOUT_MS = 600_000;
/** Longest start or stop, milliseconds: btcd flushes its database before it exits. */
const PROCESS_TIMEOUT_MS = 60_000;
/** Pause between two looks at a starting node, milliseconds. */
const POLL_MS = 100;
/** Longest single RPC, milliseconds: `generate` of some hundred blocks is the slowest one used. */
const RPC_TIMEOUT_MS = 120_000;

const BIN_DIR = join(dirname(fileURLToPath(import.meta.url)), '../../.cache/bin');
/** Any valid regtest address: mining needs one, and tests that spend hand in their own. */
const DEFAULT_MINING_ADDRESS = 'bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080';

/** How one node is started. */
export interface BtcdOptions {
  /** Existing directory of this node alone; data, certificate and log go below it. */
  dir: string;
  /** TLS with a certificate that btcd makes itself; default off. */
  tls?: boolean;
  /** Where mined coins go, a regtest address. */
  miningAddress?: string;
  /** Transaction index, default on. */
  txindex?: boolean;
}

/** A running node and the hands on it. */
export interface Btcd {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly pass: string;
  /** PEM file to trust, with TLS only. */
  readonly certFile: string | undefined;
  /** One JSON-RPC call; rejects with BtcdRpcError when the node answers with an error. */
  rpc<T = unknown>(method: string, params?: readonly unknown[]): Promise<T>;
  /** Ends the node as an operator would; idempotent. */
  stop(): Promise<void>;
  /** Ends it without warning, as a power cut would. */
  kill9(): Promise<void>;
  /** Starts it again with its chain; `behindTheDoor` runs before anybody who knows `url` can reach it. */
  start(behindTheDoor?: () => Promise<void>): Promise<void>;
  /** Freezes the process until the returned function is called: sockets stay open, nothing is answered. */
  freeze(): () => void;
  /** Stops when it runs, then starts again. */
  restart(): Promise<void>;
  /** Last lines of its log, for a failing test's report. */
  logTail(): string;
}

/** An error that the node answered. */
export class BtcdRpcError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(`btcd answered ${code}: ${message}`);
    this.name = 'BtcdRpcError';
    this.code = code;
  }
}

/** Path of the built program. */
export function btcdPath(): string {
  return join(BIN_DIR, `btcd-${BTCD_VERSION}`);
}

/** Whether btcd can be run here, and if not, why; builds it once when Go is there. */
export async function btcdAvailable(): Promise<{ available: true } | { available: false; reason: string }> {
  if (existsSync(btcdPath())) return { available: true };
  const run = promisify(execFile);
  const scratch = join(BIN_DIR, `build-${process.pid}`);
  mkdirSync(scratch, { recursive: true });
  try {
    const env = { ...process.env, GOBIN: scratch, GOFLAGS: '' };
    await run('go', ['install', `github.com/btcsuite/btcd@${BTCD_VERSION}`], { env, timeout: BUILD_TIMEOUT_MS });
    // Renamed when complete: two test processes may build at the same time, and none may see half a program.
    await rename(join(scratch, 'btcd'), btcdPath());
    return { available: true };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { available: false, reason: `btcd ${BTCD_VERSION} cannot be built (needs go in PATH): ${text}` };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Starts a node and waits until it answers. */
export async function startBtcd(options: BtcdOptions): Promise<Btcd> {
  const { dir, tls = false, txindex = true, miningAddress = DEFAULT_MINING_ADDRESS } = options;
  const [listenPort, rpcPort, publicPort] = [await freePort(), await freePort(), await freePort()];
  const [user, pass] = ['interop', 'interop-password'];
  const certFile = tls ? join(dir, 'rpc.cert') : undefined;
  const logFile = join(dir, 'btcd.log');
  const door = createForwarder(publicPort, rpcPort);
  let child: ReturnType<typeof spawn> | undefined;
  const killAtExit = (): void => void child?.kill('SIGKILL');

  const args = (): string[] => [
    '--configfile=/dev/null',
    `--datadir=${join(dir, 'data')}`,
    `--logdir=${join(dir, 'logs')}`,
    '--regtest',
    '--nodnsseed',
    `--listen=127.0.0.1:${listenPort}`,
    `--rpclisten=127.0.0.1:${rpcPort}`,
    `--rpcuser=${user}`,
    `--rpcpass=${pass}`,
    `--miningaddr=${miningAddress}`,
    ...(txindex ? ['--txindex'] : []),
    ...(tls ? [`--rpccert=${certFile}`, `--rpckey=${join(dir, 'rpc.key')}`] : ['--notls']),
  ];

  const rpc = async <T>(method: string, params: readonly unknown[] = []): Promise<T> => {
    const body = JSON.stringify({ jsonrpc: '1.0', id: 1, method, params });
    const answer = JSON.parse(await post({ port: rpcPort, user, pass, certFile }, body)) as {
      result: T;
      error: { code: number; message: string } | null;
    };
    if (answer.error !== null) throw new BtcdRpcError(answer.error.code, answer.error.message);
    return answer.result;
  };

  const alive = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null;

  const awaitExit = async (): Promise<void> => {
    const process = child;
    if (process === undefined || !alive()) return;
    const late = setTimeout(() => process.kill('SIGKILL'), PROCESS_TIMEOUT_MS);
    await once(process, 'exit');
    clearTimeout(late);
  };

  const logTail = (): string => (existsSync(logFile) ? readFileSync(logFile, 'utf8').slice(-4_000) : '');

  const archive = createArchive(rpc);

  const start = async (behindTheDoor?: () => Promise<void>): Promise<void> => {
    if (alive()) return;
    process.off('exit', killAtExit);
    process.on('exit', killAtExit);
    const log = openSync(logFile, 'a');
    // An empty environment but HOME: a btcd.conf of the person who runs the tests must not be read.
    child = spawn(btcdPath(), args(), { stdio: ['ignore', log, log], env: { HOME: dir } });
    closeSync(log);
    const until = Date.now() + PROCESS_TIMEOUT_MS;
    for (;;) {
      if (!alive()) throw new Error(`btcd ended while starting:\n${logTail()}`);
      const up = await rpc('getblockcount').then(
        () => true,
        () => false,
      );
      if (up) break;
      if (Date.now() > until) throw new Error(`btcd did not answer in time:\n${logTail()}`);
      await sleep(POLL_MS);
    }
    await archive.restore();
    await behindTheDoor?.();
    await door.open();
  };

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (!alive()) return;
    await archive.save();
    child?.kill(signal);
    await door.close();
    await awaitExit();
  };
  const stop = async (): Promise<void> => await end('SIGINT');

  await start();
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${publicPort}`,
    host: '127.0.0.1',
    port: publicPort,
    user,
    pass,
    certFile,
    rpc,
    stop: async () => {
      await stop();
      process.off('exit', killAtExit);
    },
    kill9: async () => await end('SIGKILL'),
    start,
    freeze: () => {
      child?.kill('SIGSTOP');
      return () => void child?.kill('SIGCONT');
    },
    restart: async () => {
      await stop();
      await start();
    },
    logTail,
  };
}

/** Blocks of the active chain, kept over a restart. */
function createArchive(rpc: Btcd['rpc']): { save(): Promise<void>; restore(): Promise<void> } {
  const blocks = new Map<string, { parent: string; hex: string }>();
  let genesis = '';
  let tip = '';
  return {
    async save() {
      genesis = await rpc<string>('getblockhash', [0]);
      tip = await rpc<string>('getbestblockhash');
      for (let hash = tip; hash !== genesis && !blocks.has(hash); ) {
        const hex = await rpc<string>('getblock', [hash, 0]);
        const header = fromHex(hex.slice(0, 160));
        if (header === undefined) throw new Error('btcd gave a block that is no hex');
        const parent = hashToDisplay(previousHashOf(header));
        blocks.set(hash, { parent, hex });
        hash = parent;
      }
    },
    async restore() {
      const chain: string[] = [];
      for (let at = blocks.get(tip); at !== undefined; at = blocks.get(at.parent)) chain.push(at.hex);
      for (const hex of chain.reverse()) {
        const refusal = await rpc<string | null>('submitblock', [hex]);
        if (refusal !== null) throw new Error(`btcd refused a block of its own: ${refusal}`);
      }
      const best = await rpc<string>('getbestblockhash');
      if (tip !== '' && best !== tip) throw new Error(`btcd came back at ${best}, not at ${tip}`);
    },
  };
}

async function post(
  to: { port: number; user: string; pass: string; certFile: string | undefined },
  body: string,
): Promise<string> {
  const auth = `${to.user}:${to.pass}`;
  const shared = { host: '127.0.0.1', port: to.port, method: 'POST', auth, agent: false, timeout: RPC_TIMEOUT_MS };
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return await new Promise<string>((resolve, reject) => {
    const request =
      to.certFile === undefined
        ? httpRequest({ ...shared, headers })
        : httpsRequest({ ...shared, headers, ca: readFileSync(to.certFile) });
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error('btcd did not answer in time')));
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode === 200 || text.startsWith('{')) resolve(text);
        else reject(new Error(`btcd answered HTTP ${response.statusCode}: ${text.slice(0, 200)}`));
      });
    });
    request.end(body);
  });
}
