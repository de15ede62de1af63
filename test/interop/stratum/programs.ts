/** The programs of the Stratum Reference Implementation as a miner or pool operator starts them: by a file in TOML. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../free-port.js';
import { poolPath, probePath, translatorPath } from './apps.js';

/** Longest wait until a program listens, milliseconds: it connects to its own server first. */
const START_MS = 30_000;
/** Pause between two looks, milliseconds. */
const POLL_MS = 50;
/** How long a program may take to end when it is asked to, milliseconds. */
const END_MS = 5_000;
/** Key pair of the example configurations of pool_sv2: known to everybody, good for a test alone. */
export const EXAMPLE_KEYS = {
  publicKey: '9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72',
  secretKey: 'mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n',
};

/** A running program. */
export interface Program {
  readonly port: number;
  /** What it printed. */
  log(): string;
  stop(): Promise<void>;
}

/** Starts `translator_sv2` in front of a pool; miners of Stratum V1 connect to its port. */
export async function startTranslator(options: {
  dir: string;
  pool: { port: number; publicKey: string };
  identity: string;
}): Promise<Program> {
  const port = await freePort();
  const text = `
downstream_address = "127.0.0.1"
downstream_port = ${port}
max_supported_version = 2
min_supported_version = 2
downstream_extranonce2_size = 4
verify_payout = false
aggregate_channels = false
supported_extensions = []

[downstream_difficulty_config]
min_individual_miner_hashrate = 100.0
shares_per_minute = 60.0
enable_vardiff = false
job_keepalive_interval_secs = 60

[[upstreams]]
address = "127.0.0.1"
port = ${options.pool.port}
authority_pubkey = "${options.pool.publicKey}"
user_identity = "${options.identity}"
`;
  return startProgram('translator', translatorPath(), options.dir, port, text);
}

/** Starts `pool_sv2` behind a Template Provider. */
export async function startPool(options: {
  dir: string;
  provider: { port: number; publicKey: string };
  payoutAddress: string;
  tag: string;
}): Promise<Program> {
  const port = await freePort();
  const text = `
authority_public_key = "${EXAMPLE_KEYS.publicKey}"
authority_secret_key = "${EXAMPLE_KEYS.secretKey}"
cert_validity_sec = 3600
listen_address = "127.0.0.1:${port}"
coinbase_reward_script = "addr(${options.payoutAddress})"
server_id = 1
pool_signature = "${options.tag}"
shares_per_minute = 60.0
share_batch_size = 1

[template_provider_type.Sv2Tp]
address = "127.0.0.1:${options.provider.port}"
public_key = "${options.provider.publicKey}"
`;
  return startProgram('pool', poolPath(), options.dir, port, text);
}

async function startProgram(name: string, path: string, dir: string, port: number, config: string): Promise<Program> {
  const [configFile, logFile] = [join(dir, `${name}-${port}.toml`), join(dir, `${name}-${port}.log`)];
  writeFileSync(configFile, config);
  const output = openSync(logFile, 'a');
  const env = { HOME: dir, PATH: process.env.PATH ?? '', RUST_LOG: 'info', RUST_BACKTRACE: '1' };
  const child = spawn(path, ['-c', configFile], { cwd: dir, env, stdio: ['ignore', output, output] });
  closeSync(output);
  const log = (): string => (existsSync(logFile) ? readFileSync(logFile, 'utf8') : '');
  const stop = () => endChild(child);
  const until = Date.now() + START_MS;
  while (!(await listens(port))) {
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (ended || Date.now() > until) {
      await stop();
      throw new Error(`${name} ${ended ? 'ended' : 'does not listen'}:\n${log().slice(-4_000)}`);
    }
    await sleep(POLL_MS);
  }
  return { port, log, stop };
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  const late = setTimeout(() => child.kill('SIGKILL'), END_MS);
  child.kill('SIGINT');
  await gone;
  clearTimeout(late);
}

async function listens(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** One line of the probe: `e` names what happened, `at` is microseconds since 1970. */
export interface ProbeLine {
  e: string;
  at?: number;
  [fact: string]: unknown;
}

/** The probe at work. */
export interface Probe {
  readonly lines: readonly ProbeLine[];
  /** Lines of one kind. */
  of(kind: string): ProbeLine[];
  /** How it ended; its errors are in the text. */
  readonly ended: Promise<{ code: number | null; errors: string }>;
  /** Waits for a condition on the lines. */
  until(what: string, holds: (lines: readonly ProbeLine[]) => boolean, timeoutMs?: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the probe: `startProbe('mine', { connect: '127.0.0.1:1', identity: 'a' })`. */
export function startProbe(command: string, options: Readonly<Record<string, string | number>>): Probe {
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(probePath(), [command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: ProbeLine[] = [];
  let [rest, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) lines.push(JSON.parse(part) as ProbeLine);
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    errors = (errors + chunk).slice(-4_000);
  });
  const ended = new Promise<{ code: number | null; errors: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, errors }));
  });
  return {
    lines,
    of: (kind) => lines.filter(({ e }) => e === kind),
    ended,
    async until(what, holds, timeoutMs = 30_000) {
      const end = Date.now() + timeoutMs;
      while (!holds(lines)) {
        const over = child.exitCode !== null || child.signalCode !== null;
        if (over || Date.now() > end) {
          const tail = lines.slice(-10).map((line) => JSON.stringify(line));
          throw new Error(`the probe ${over ? 'ended before' : 'waited for'}: ${what}\n${tail.join('\n')}\n${errors}`);
        }
        await sleep(POLL_MS);
      }
    },
    stop: () => endChild(child),
  };
}
